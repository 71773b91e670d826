import { ceilDiv } from "../src/base/math.ts";
import { type CacheSpec, maxLiveBlocks, NO_BLOCK } from "../src/core/cache_group.ts";
import type { SequenceId } from "../src/core/ids.ts";
import { planSlabs } from "../src/core/slab_layout.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import type { EncoderInput } from "../src/kvcache/tables/encoder_inputs.ts";

/** Tokens of one request. */
export interface Workload {
  readonly name: string;
  readonly numTokens: number;
  /** Positions of an encoder's output that only cross-attention layers keep. */
  readonly numEncoderTokens: number;
}

/** A model whose layers do not all cache the same; `kinds` say which and how many. */
export interface HybridModel {
  readonly name: string;
  readonly kinds: readonly {
    readonly kind: "full" | "window" | "cross";
    readonly numLayers: number;
    readonly windowTokens?: number;
  }[];
  /** The first is the published example, the second what else such a model is asked. */
  readonly workloads: readonly Workload[];
  /** The share of KV memory that homogeneous pages waste on the first workload. */
  readonly wastedShare: number;
}

/** Bytes of K and V of one position in one layer: 8 heads of 128 in f16. */
export const LAYER_BYTES_PER_TOKEN = 2 * 8 * 128 * 2;

/** Positions that a prefill chunk puts in flight. */
const CHUNK_TOKENS = 512;

/** The examples of Jenga's proposal to vLLM (RFC #11382), with the waste it derives for each. */
export const HYBRID_MODELS: readonly HybridModel[] = [
  {
    name: "Llama 3.2 11B Vision",
    kinds: [{ kind: "full", numLayers: 32 }, { kind: "cross", numLayers: 8 }],
    workloads: [
      { name: "43 text and 6,193 image tokens", numTokens: 43, numEncoderTokens: 6193 },
      { name: "2,000 text tokens", numTokens: 2000, numEncoderTokens: 0 },
    ],
    wastedShare: 1 - (43 * 32 + 6193 * 8) / (6236 * 40),
  },
  {
    name: "Gemma 2",
    kinds: [
      { kind: "full", numLayers: 21 },
      { kind: "window", numLayers: 21, windowTokens: 4096 },
    ],
    workloads: [
      { name: "8,192 tokens", numTokens: 8192, numEncoderTokens: 0 },
      { name: "1,024 tokens", numTokens: 1024, numEncoderTokens: 0 },
    ],
    wastedShare: 0.5 * 0.5,
  },
  {
    name: "Ministral",
    kinds: [
      { kind: "full", numLayers: 9 },
      { kind: "window", numLayers: 27, windowTokens: 32_768 },
    ],
    workloads: [
      { name: "131,072 tokens", numTokens: 131_072, numEncoderTokens: 0 },
      { name: "16,384 tokens", numTokens: 16_384, numEncoderTokens: 0 },
    ],
    wastedShare: 0.75 * 0.75,
  },
];

/** Layers that keep the same, and the bytes of one of their blocks. */
export interface HybridGroup {
  readonly cache: CacheSpec;
  readonly blockBytes: number;
}

const HEADS = { numKvHeads: 8, headDim: 128 };

/** The groups of a model, with blocks of this many positions. */
export function groupsOf(model: HybridModel, tokensPerBlock: number): HybridGroup[] {
  return model.kinds.map(({ kind, numLayers, windowTokens }): HybridGroup => {
    const blockBytes = tokensPerBlock * numLayers * LAYER_BYTES_PER_TOKEN;
    if (kind === "full") return { cache: { kind, ...HEADS }, blockBytes };
    if (kind === "window") {
      return { cache: { kind: "sliding_window", window: windowTokens!, ...HEADS }, blockBytes };
    }
    return { cache: { kind: "encoder", lifetime: "sequence", ...HEADS }, blockBytes };
  });
}

/** One group of all layers, as if each kept every position. */
function homogeneousGroup(model: HybridModel, tokensPerBlock: number): HybridGroup {
  const numLayers = model.kinds.reduce((sum, kind) => sum + kind.numLayers, 0);
  const blockBytes = tokensPerBlock * numLayers * LAYER_BYTES_PER_TOKEN;
  return { cache: { kind: "full", ...HEADS }, blockBytes };
}

/** How many requests a pool held at once, and how many bytes the first of them took. */
export interface Outcome {
  readonly numRequests: number;
  readonly requestBytes: number;
}

/** The memory that requests are to fill. */
interface Memory {
  readonly groups: readonly HybridGroup[];
  readonly poolBytes: number;
  readonly tokensPerBlock: number;
}

/** Prefills requests chunk by chunk, all of which stay, until one finds no room. */
function fill({ groups, poolBytes, tokensPerBlock }: Memory, workload: Workload): Outcome {
  const { slabBytes, cuts } = planSlabs(groups.map(({ blockBytes }) => blockBytes));
  const caches = groups.map(({ cache }) => cache);
  const blocks = new BlockManager({
    groups: caches,
    numBlocks: Math.floor(poolBytes / slabBytes),
    blocksPerSlab: cuts.map(({ blocksPerSlab }) => blocksPerSlab),
    blockSize: tokensPerBlock,
    maxInFlightTokens: CHUNK_TOKENS,
    numWatermarkBlocks: 0,
  });
  const hasEncoder = caches.some(({ kind }) => kind === "encoder");
  let requestBytes = 0;
  for (let id = 0;; id++) {
    const inputs = hasEncoder ? inputsOf(workload) : [];
    if (!prefill(blocks, id, workload.numTokens, inputs)) return { numRequests: id, requestBytes };
    if (id === 0) requestBytes = bytesOf(groups, blocks, inputs);
  }
}

/** What an encoder reads for a request; nothing is shared without a prefix cache. */
function inputsOf({ numTokens, numEncoderTokens }: Workload): EncoderInput[] {
  if (numEncoderTokens === 0) return [];
  return [{ key: "image", numTokens: numEncoderTokens, placeholderEnd: numTokens }];
}

/** Admits a request and computes it; false where it finds no room. */
function prefill(
  blocks: BlockManager,
  id: SequenceId,
  numTokens: number,
  inputs: readonly EncoderInput[],
): boolean {
  const tokens = new Uint32Array(numTokens);
  if (blocks.tryAdmit(id, tokens, { inputs }) === undefined) return false;
  for (const { key } of inputs) blocks.publishInput(id, key);
  for (let start = 0; start < numTokens; start += CHUNK_TOKENS) {
    const end = Math.min(numTokens, start + CHUNK_TOKENS);
    if (!blocks.tryExtend(id, end)) return false;
    blocks.markComputed(id, tokens, end);
  }
  return true;
}

/** Bytes of the blocks that the first request holds. */
function bytesOf(
  groups: readonly HybridGroup[],
  blocks: BlockManager,
  inputs: readonly EncoderInput[],
): number {
  const tables = blocks.blockTables(0);
  return groups.reduce((sum, { blockBytes }, group) => {
    const inTable = tables[group]!.filter((id) => id !== NO_BLOCK).length;
    const ofInputs = inputs.map(({ key }) => blocks.inputBlocks(0, group, key)?.length ?? 0);
    return sum + blockBytes * ofInputs.reduce((a, b) => a + b, inTable);
  }, 0);
}

/** Homogeneous pages: every layer keeps every position, the encoder's included. */
export function fillHomogeneous(
  model: HybridModel,
  workload: Workload,
  { poolBytes, tokensPerBlock }: { poolBytes: number; tokensPerBlock: number },
): Outcome {
  const numTokens = workload.numTokens + workload.numEncoderTokens;
  const groups = [homogeneousGroup(model, tokensPerBlock)];
  const requests = { ...workload, numTokens, numEncoderTokens: 0 };
  return fill({ groups, poolBytes, tokensPerBlock }, requests);
}

/** One pool per group, split as is best for the model's first workload. */
export function fillSeparate(
  model: HybridModel,
  workload: Workload,
  { poolBytes, tokensPerBlock }: { poolBytes: number; tokensPerBlock: number },
): Outcome {
  const groups = groupsOf(model, tokensPerBlock);
  const { numTokens, numEncoderTokens } = model.workloads[0]!;
  const grain = { blockSize: tokensPerBlock, maxInFlightTokens: CHUNK_TOKENS };
  const needed = groups.map(({ cache, blockBytes }) => {
    const numBlocks = cache.kind === "encoder"
      ? ceilDiv(numEncoderTokens, tokensPerBlock)
      : maxLiveBlocks(cache, numTokens, grain);
    return numBlocks * blockBytes;
  });
  const total = needed.reduce((a, b) => a + b);
  const outcomes = groups.map((alone, group) => {
    const isUsed = alone.cache.kind !== "encoder" || workload.numEncoderTokens > 0;
    const share = Math.floor(poolBytes * needed[group]! / total);
    const memory = { groups: [alone], poolBytes: share, tokensPerBlock };
    return isUsed ? fill(memory, workload) : undefined;
  }).filter((outcome) => outcome !== undefined);
  return {
    numRequests: Math.min(...outcomes.map((outcome) => outcome.numRequests)),
    requestBytes: outcomes.reduce((sum, outcome) => sum + outcome.requestBytes, 0),
  };
}

/** All groups in one pool of slabs. */
export function fillUnified(
  model: HybridModel,
  workload: Workload,
  { poolBytes, tokensPerBlock }: { poolBytes: number; tokensPerBlock: number },
): Outcome {
  return fill({ groups: groupsOf(model, tokensPerBlock), poolBytes, tokensPerBlock }, workload);
}

import { GroupManager, type GroupManagerOptions } from "../src/kvcache/groups/group_manager.ts";
import {
  type GroupSpec,
  maxLiveBlocks,
  numEncoderBlocks,
} from "../src/kvcache/groups/group_spec.ts";

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

/** The groups of a model, with blocks of this many positions. */
export function groupsOf(model: HybridModel, tokensPerBlock: number): GroupSpec[] {
  return model.kinds.map(({ kind, numLayers, windowTokens }): GroupSpec => {
    const blockBytes = tokensPerBlock * numLayers * LAYER_BYTES_PER_TOKEN;
    const base = { name: kind, tokensPerBlock, blockBytes };
    if (kind === "full") return { kind, ...base };
    if (kind === "cross") return { kind: "encoder", lifetime: "sequence", ...base };
    return { kind: "sliding-window", windowTokens: windowTokens!, ...base };
  });
}

/** One group of all layers, as if each kept every position. */
function homogeneousGroup(model: HybridModel, tokensPerBlock: number): GroupSpec {
  const numLayers = model.kinds.reduce((sum, kind) => sum + kind.numLayers, 0);
  const blockBytes = tokensPerBlock * numLayers * LAYER_BYTES_PER_TOKEN;
  return { kind: "full", name: "all layers", tokensPerBlock, blockBytes };
}

/** How many requests a pool held at once, and how many bytes the first of them took. */
export interface Outcome {
  readonly numRequests: number;
  readonly requestBytes: number;
}

/** Prefills requests chunk by chunk, all of which stay, until one finds no room. */
function fill(
  options: Omit<GroupManagerOptions, "maxInFlightTokens">,
  workload: Workload,
): Outcome {
  const blocks = new GroupManager({ ...options, maxInFlightTokens: CHUNK_TOKENS });
  const { numTokens, numEncoderTokens } = workload;
  let requestBytes = 0;
  for (let id = 0;; id++) {
    const inputs = numEncoderTokens === 0 ? [] : [{
      key: `image ${id}`,
      numTokens: numEncoderTokens,
      placeholderEnd: numTokens,
    }];
    if (blocks.tryAdmit(id, { numTokens, inputs }) === undefined) {
      return { numRequests: id, requestBytes };
    }
    for (let start = 0; start < numTokens; start += CHUNK_TOKENS) {
      const count = Math.min(CHUNK_TOKENS, numTokens - start);
      if (!blocks.tryExtend(id, start + count)) return { numRequests: id, requestBytes };
      blocks.dispatch(id, count);
      blocks.settle(id, count);
    }
    if (id === 0) requestBytes = blocks.usage().usedBytes;
  }
}

/** Homogeneous pages: every layer keeps every position, the encoder's included. */
export function fillHomogeneous(
  model: HybridModel,
  workload: Workload,
  { poolBytes, tokensPerBlock }: { poolBytes: number; tokensPerBlock: number },
): Outcome {
  const numTokens = workload.numTokens + workload.numEncoderTokens;
  const groups = [homogeneousGroup(model, tokensPerBlock)];
  return fill({ groups, poolBytes }, { ...workload, numTokens, numEncoderTokens: 0 });
}

/** One pool per group, split as is best for the model's first workload. */
export function fillSeparate(
  model: HybridModel,
  workload: Workload,
  { poolBytes, tokensPerBlock }: { poolBytes: number; tokensPerBlock: number },
): Outcome {
  const groups = groupsOf(model, tokensPerBlock);
  const { numTokens, numEncoderTokens } = model.workloads[0]!;
  const needed = groups.map((spec) => {
    const numBlocks = spec.kind === "encoder"
      ? numEncoderBlocks(spec, numEncoderTokens)
      : maxLiveBlocks(spec, numTokens, CHUNK_TOKENS);
    return numBlocks * spec.blockBytes;
  });
  const total = needed.reduce((a, b) => a + b);
  const outcomes = groups.map((spec, group) => {
    const isUsed = spec.kind !== "encoder" || workload.numEncoderTokens > 0;
    const share = Math.floor(poolBytes * needed[group]! / total);
    return isUsed ? fill({ groups: [spec], poolBytes: share }, workload) : undefined;
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
  return fill({ groups: groupsOf(model, tokensPerBlock), poolBytes }, workload);
}

import { assert, assertEquals } from "@std/assert";
import {
  attentionQueryTile,
  pagedAttentionCalls,
} from "../../kernels/attention/paged_attention.ts";
import { type AttentionLayer, qkvHeads } from "../../kernels/kv/attention_layer.ts";
import { hadamard } from "../../kernels/kv/hadamard.ts";
import { kvPlace, loadKv, spanOf } from "../../kernels/kv/kv_cache.ts";
import { KV_STORAGE } from "../../src/core/kv_layout.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { READS_ALL, type ReadSpan } from "../../src/core/read_span.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { filledKv } from "../support/kv_fixture.ts";
import { type ChunkShape, packStep } from "../support/step_fixture.ts";

const NUM_BLOCKS = 301;

/** Contexts within windows and beyond them, that end splits and blocks and do not. */
const CHUNKS: readonly ChunkShape[] = [
  { start: 0, count: 17 },
  { start: 5, count: 37 },
  { start: 130, count: 9 },
  ...[1, 8, 16, 17, 33, 65, 130, 300].map((length) => ({ start: length - 1, count: 1 })),
];

type Case = AttentionLayer & { readonly hasSinks?: boolean };

const CASES: readonly [name: string, layer: Case][] = [
  [
    "a window smaller than a block, odd heads, a scale",
    {
      ...{ H: 3, G: 1, D: 16, BLOCK_SIZE: 8, KV_DTYPE: "f16" },
      ...{ WINDOW: 5, SCALE: 0.7 },
    },
  ],
  [
    "a window of one position",
    { H: 2, G: 2, D: 8, BLOCK_SIZE: 16, KV_DTYPE: "f32", WINDOW: 1 },
  ],
  [
    "a window of a block, with sinks in less than one, in int8",
    { H: 4, G: 2, D: 16, BLOCK_SIZE: 16, KV_DTYPE: "int8", WINDOW: 16, NUM_SINKS: 4 },
  ],
  [
    "a window of no whole blocks, sinks in several, a soft cap and scores of sinks",
    {
      ...{ H: 6, G: 2, D: 16, BLOCK_SIZE: 4, KV_DTYPE: "f16", hasSinks: true },
      ...{ WINDOW: 75, NUM_SINKS: 6, SOFT_CAP: 3 },
    },
  ],
  [
    "a window longer than any context, in fp8",
    { H: 4, G: 2, D: 16, BLOCK_SIZE: 16, KV_DTYPE: "fp8", WINDOW: 1000, SOFT_CAP: 50 },
  ],
  [
    "chunks of positions, in int4, in a row of its group's blocks",
    {
      ...{ H: 2, G: 1, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "int4" },
      ...{ WINDOW: 24, IS_CHUNKED: true, GROUP: 2, STRIDE: 1000, LAYER_OFFSET: 244 },
    },
  ],
  [
    "queries alone, scores of sinks, in the second group",
    {
      ...{ H: 4, G: 2, D: 16, BLOCK_SIZE: 8, KV_DTYPE: "f16", hasSinks: true },
      ...{ QUERIES_ONLY: true, GROUP: 1, STRIDE: 1024, LAYER_OFFSET: 512, SCALE: 1 },
    },
  ],
];

/** Of workgroups few, since compiling them is what takes time: every option is in one of them. */
const FEW = [CASES[0]!, CASES[3]!, CASES[5]!, CASES[6]!];
const SHUFFLING: typeof CASES = [
  [
    "a window with sinks in codes",
    { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "int8", WINDOW: 40, NUM_SINKS: 3, SOFT_CAP: 3 },
  ],
];

const VARIANTS: readonly [name: string, tuning: Tuning, cases: typeof CASES][] = [
  ["lone lanes", SOFTWARE_TUNING, CASES],
  ["lanes that share loads", { ...SOFTWARE_TUNING, attentionSubgroups: true }, CASES],
  ["workgroups", GPU_TUNING, FEW],
  ["workgroups, deterministic", { ...GPU_TUNING, isDeterministic: true }, FEW.slice(1, 3)],
  ["workgroups that shuffle", { ...GPU_TUNING, shuffleLanes: 8 }, SHUFFLING],
];

/** What the query at `query` reads, by definition of a window, a chunk and sinks. */
function reads({ window, isChunked, numSinkTokens }: ReadSpan, query: number, at: number): boolean {
  if (at > query) return false;
  if (window === 0 || at < numSinkTokens) return true;
  return isChunked ? Math.floor(at / window) === Math.floor(query / window) : at > query - window;
}

/** Overwrites the blocks that none of a chunk's queries reads with NaN. */
function poisonDead(
  kv: Uint32Array,
  layer: Case,
  tables: readonly (readonly number[])[],
): Uint32Array {
  const { STRIDE } = kvPlace(layer);
  CHUNKS.forEach(({ start, count }, s) => {
    tables[s]!.forEach((id, index) => {
      const positions = Array.from(
        { length: layer.BLOCK_SIZE },
        (_, i) => index * layer.BLOCK_SIZE + i,
      );
      const isLive = positions.some((at) =>
        at >= start || Array.from({ length: count }, (_, i) => start + i)
          .some((query) => reads(spanOf(layer), query, at))
      );
      if (!isLive) kv.fill(0xffffffff, id * STRIDE, (id + 1) * STRIDE);
    });
  });
  return kv;
}

/** Attention of every row in f64, one after the other, and out of what V is stored as. */
function attended(
  layer: Case,
  tables: readonly (readonly number[])[],
  { qkv, kv, sinks }: Readonly<Record<"qkv" | "sinks", Float32Array> & { kv: Uint32Array }>,
): Float32Array {
  const { H, G, D, BLOCK_SIZE, SCALE = 1 / Math.sqrt(D), SOFT_CAP } = layer;
  const pool = new HostBuffer("kv", kv.byteLength);
  pool.u32.set(kv);
  const load = (s: number, position: number, which: 0 | 1, head: number) => {
    const values = new Float32Array(D);
    const block = tables[s]![Math.floor(position / BLOCK_SIZE)]!;
    const slot = block * BLOCK_SIZE + position % BLOCK_SIZE;
    loadKv(pool, { slot, which, head }, layer, values);
    return values;
  };
  const rows = rowsInOrder();
  const out = new Float32Array(rows.length * H * D);
  rows.forEach(({ s, position }, row) => {
    for (let h = 0; h < H; h++) {
      const head = Math.floor(h / (H / G));
      const first = (row * qkvHeads(layer) + h) * D;
      const query = qkv.subarray(first, first + D);
      const positions = Array.from({ length: position + 1 }, (_, at) => at)
        .filter((at) => reads(spanOf(layer), position, at));
      const weights = positions.map((at) => {
        const key = load(s, at, 0, head);
        const score = SCALE * query.reduce((sum, x, d) => sum + x * key[d]!, 0);
        return Math.exp(SOFT_CAP === undefined ? score : SOFT_CAP * Math.tanh(score / SOFT_CAP));
      });
      const extra = layer.hasSinks ? Math.exp(sinks[h]!) : 0;
      const total = weights.reduce((sum, weight) => sum + weight, extra);
      positions.forEach((at, i) =>
        load(s, at, 1, head).forEach((value, d) =>
          out[(row * H + h) * D + d]! += weights[i]! / total * value
        )
      );
      const at = (row * H + h) * D;
      if (KV_STORAGE[layer.KV_DTYPE].isTransformed) hadamard(out.subarray(at, at + D));
    }
  });
  return out;
}

/** Sequence and position of every row, decodes first. */
function rowsInOrder(): { s: number; position: number }[] {
  const order = [...CHUNKS.keys()].sort((a, b) =>
    Number(CHUNKS[a]!.count > 1) - Number(CHUNKS[b]!.count > 1) || a - b
  );
  return order.flatMap((s) =>
    Array.from({ length: CHUNKS[s]!.count }, (_, i) => ({ s, position: CHUNKS[s]!.start + i }))
  );
}

async function check(gpu: WebGpuDevice, layer: Case, tuning: Tuning): Promise<void> {
  const { hasSinks = false, ...shape } = layer;
  const { H, D, BLOCK_SIZE: blockSize, GROUP = 0 } = layer;
  const others = Array.from({ length: GROUP }, () => READS_ALL);
  const step = packStep(CHUNKS, {
    ...{ blockSize, numBlocks: NUM_BLOCKS, splitLen: tuning.splitLen },
    queryTile: attentionQueryTile(layer, tuning),
    spans: [...others, spanOf(layer)],
  });
  const rows = step.dims.numTokens;
  const numSplits = step.dims.numSplits[GROUP]!;
  const lengths = CHUNKS.map(({ start, count }) => start + count);
  const inputs = {
    qkv: noise(rows * qkvHeads(layer) * D, 9, 3),
    kv: poisonDead(filledKv(shape, NUM_BLOCKS, step.tables, lengths), layer, step.tables),
    sinks: noise(H, 4, 2),
  };
  const { actual, expected } = await runBoth(
    gpu,
    {
      step: step.words,
      ...inputs,
      partials: new Float32Array(numSplits * H * D).fill(NaN),
      stats: new Float32Array(numSplits * H * 2).fill(NaN),
      out: new Float32Array((rows + 1) * H * D).fill(7),
    },
    ({ sinks, ...b }) =>
      pagedAttentionCalls(shape, { ...b, ...(hasSinks ? { sinks } : {}) } as never, tuning),
    step.dims,
    "out",
  );
  const exact = attended(layer, step.tables, inputs);
  const error = worstError(actual.f32, exact, 0, exact.length);
  assert(error < 1e-5, `error ${error}`);
  const ofDefinition = worstError(expected.f32, exact, 0, exact.length);
  assert(ofDefinition < 1e-5, `error of the definition ${ofDefinition}`);
  assertEquals(actual.f32[exact.length], 7, "wrote past the last row");
}

for (const [variant, tuning, cases] of VARIANTS) {
  for (const [name, layer] of cases) {
    gpuTest(`attention by ${variant} agrees with the definition: ${name}`, async (gpu) => {
      const usesSubgroups = tuning.attentionSubgroups || tuning.shuffleLanes > 1;
      if (usesSubgroups && gpu.capabilities.subgroupMinSize < 8) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn("skipped: the adapter grants no subgroups of eight");
      } else await check(gpu, layer, tuning);
    });
  }
}

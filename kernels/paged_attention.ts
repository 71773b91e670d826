import type { HostBuffer } from "../src/device/host_buffer.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import attend from "./attend.wgsl" with { type: "text" };
import { kvRow, type KvShape, loadKv } from "./kv_cache.ts";
import kvElements from "./kv_elements.wgsl" with { type: "text" };
import decodeSource from "./paged_attention_decode.wgsl" with { type: "text" };
import prefillSource from "./paged_attention_prefill.wgsl" with { type: "text" };
import reduceSource from "./paged_attention_reduce.wgsl" with { type: "text" };
import { SEQ, SEQ_WORDS, STEP, type StepDims, stepWgsl, TILE, TILE_WORDS } from "./step.ts";
import type { Tuning } from "./tuning.ts";

/** H query heads over G KV heads of D dims; at most `MAX_SPLITS` splits of a context. */
export type AttentionShape = KvShape & Readonly<{ H: number; MAX_SPLITS: number }>;

type DecodeShape =
  & AttentionShape
  & Readonly<{ SPLIT_LEN: number; SPLITS: number; POSITIONS: number }>;
type PrefillShape = KvShape & Readonly<{ H: number; QUERIES: number; POSITIONS: number }>;

const DECODE_BINDINGS = [
  { name: "step", access: "read" },
  { name: "qkv", access: "read" },
  { name: "kv", access: "read" },
  { name: "parts", access: "read_write" },
  { name: "peaks", access: "read_write" },
] as const;

/** Attention of decodes, one partial result per split; `pagedAttentionReduce` joins them. */
export const pagedAttentionDecode: Kernel<DecodeShape> = {
  name: "paged_attention_decode",
  source: stepWgsl + kvElements + decodeSource.replace("${attend}", () => attend),
  bindings: DECODE_BINDINGS,
  reference({ step, qkv, kv, parts, peaks }, shape) {
    const { H, G, D, MAX_SPLITS, SPLIT_LEN } = shape;
    const words = step!.u32;
    for (let s = 0; s < words[STEP.numDecodes]!; s++) {
      const seq = words[STEP.seqs]! + s * SEQ_WORDS;
      const contextLen = words[seq + SEQ.contextLen]!;
      for (let h = 0; h < H; h++) {
        const query = queryOf(qkv!, words[seq + SEQ.firstRow]!, h, shape);
        for (let begin = 0, split = 0; begin < contextLen; begin += SPLIT_LEN, split++) {
          const part = (s * H + h) * MAX_SPLITS + split;
          const positions = [begin, Math.min(begin + SPLIT_LEN, contextLen)] as const;
          const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
          const head = Math.floor(h / (H / G));
          const { output, peak, total } = attendTo(query, context, head, positions, shape);
          parts!.f32.set(output, part * D);
          peaks!.f32.set([peak, total], part * 2);
        }
      }
    }
  },
};

/** Joins the splits of each decode's heads into its attention output. */
export const pagedAttentionReduce: Kernel<
  Readonly<{ H: number; D: number; MAX_SPLITS: number; SPLIT_LEN: number }>
> = {
  name: "paged_attention_reduce",
  source: stepWgsl + reduceSource,
  bindings: [
    { name: "step", access: "read" },
    { name: "parts", access: "read" },
    { name: "peaks", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, parts, peaks, out }, { H, D, MAX_SPLITS, SPLIT_LEN }) {
    const words = step!.u32;
    for (let s = 0; s < words[STEP.numDecodes]!; s++) {
      const seq = words[STEP.seqs]! + s * SEQ_WORDS;
      const splits = Math.ceil(words[seq + SEQ.contextLen]! / SPLIT_LEN);
      for (let h = 0; h < H; h++) {
        const first = (s * H + h) * MAX_SPLITS;
        const pairs = Array.from(
          { length: splits },
          (_, m) => peaks!.f32.subarray((first + m) * 2, (first + m) * 2 + 2),
        );
        const peak = Math.max(...pairs.map(([top]) => top!));
        const weights = pairs.map(([top]) => Math.exp(top! - peak));
        const total = pairs.reduce((sum, [, part], m) => sum + part! * weights[m]!, 0);
        const row = (words[seq + SEQ.firstRow]! * H + h) * D;
        for (let d = 0; d < D; d++) {
          const sum = weights.reduce((a, w, m) => a + w * parts!.f32[(first + m) * D + d]!, 0);
          out!.f32[row + d] = sum / total;
        }
      }
    }
  },
};

/** Causal attention of chunks, tile by tile. */
export const pagedAttentionPrefill: Kernel<PrefillShape> = {
  name: "paged_attention_prefill",
  source: stepWgsl + kvElements + prefillSource.replace("${attend}", () => attend),
  bindings: [
    { name: "step", access: "read" },
    { name: "qkv", access: "read" },
    { name: "kv", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, qkv, kv, out }, shape) {
    const { H, G, D } = shape;
    const words = step!.u32;
    for (let n = 0; n < words[STEP.numTiles]!; n++) {
      const tile = words[STEP.tiles]! + n * TILE_WORDS;
      const seq = words[STEP.seqs]! + words[tile + TILE.seq]! * SEQ_WORDS;
      const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
      for (let i = 0; i < words[tile + TILE.numRows]!; i++) {
        const row = words[tile + TILE.firstRow]! + i;
        const end = words[tile + TILE.position]! + i + 1;
        for (let h = 0; h < H; h++) {
          const query = queryOf(qkv!, row, h, shape);
          const head = Math.floor(h / (H / G));
          const { output, total } = attendTo(query, context, head, [0, end], shape);
          out!.f32.set(output.map((v) => v / total), (row * H + h) * D);
        }
      }
    }
  },
};

function queryOf(
  qkv: HostBuffer,
  row: number,
  head: number,
  { H, G, D }: { H: number; G: number; D: number },
): Float32Array {
  const first = (row * (H + 2 * G) + head) * D;
  return qkv.f32.subarray(first, first + D);
}

/** The definition: softmax in two passes over positions `[begin, end)`, not yet normalized. */
function attendTo(
  query: Float32Array,
  { kv, words, table }: { kv: HostBuffer; words: Uint32Array; table: number },
  head: number,
  [begin, end]: readonly [number, number],
  shape: KvShape,
): { output: Float32Array; peak: number; total: number } {
  const { D, BLOCK_SIZE, KV_DTYPE } = shape;
  const slotOf = (p: number) =>
    words[table + Math.floor(p / BLOCK_SIZE)]! * BLOCK_SIZE + p % BLOCK_SIZE;
  const scores = new Float32Array(end - begin);
  for (let p = begin; p < end; p++) {
    const row = kvRow(slotOf(p), 0, head, shape);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += query[d]! * loadKv(kv, row + d, KV_DTYPE);
    scores[p - begin] = sum / Math.sqrt(D);
  }
  const peak = scores.reduce((top, score) => Math.max(top, score), -Infinity);
  const output = new Float32Array(D);
  let total = 0;
  for (let p = begin; p < end; p++) {
    const weight = Math.exp(scores[p - begin]! - peak);
    const row = kvRow(slotOf(p), 1, head, shape);
    total += weight;
    for (let d = 0; d < D; d++) output[d]! += weight * loadKv(kv, row + d, KV_DTYPE);
  }
  return { output, peak, total };
}

/** Attention of one layer: decodes by splits, longer chunks by tiles. */
export function pagedAttentionCalls(
  shape: AttentionShape,
  buffers: Readonly<Record<"step" | "qkv" | "kv" | "parts" | "peaks" | "out", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { MAX_SPLITS, ...base } = shape;
  const { H, G, D } = base;
  const { splitLen, positionTile: POSITIONS } = tuning;
  // Every adapter allows 256 lanes per workgroup; the H / G heads of one KV head sit together.
  const limit = Math.floor(256 * G / H);
  const splitsPerWorkgroup = Math.min(tuning.splitsPerWorkgroup, limit);
  const queryTile = Math.min(tuning.queryTile, limit);
  return [
    kernelCall(pagedAttentionDecode, {
      constants: {
        ...shape,
        SPLIT_LEN: splitLen,
        SPLITS: splitsPerWorkgroup,
        POSITIONS,
      },
      buffers,
      workgroups: ({ numDecodes, maxDecodeLen }: StepDims) => [
        Math.ceil(maxDecodeLen / (splitLen * splitsPerWorkgroup)),
        G,
        numDecodes,
      ],
    }),
    kernelCall(pagedAttentionReduce, {
      constants: { H, D, MAX_SPLITS, SPLIT_LEN: splitLen },
      buffers,
      workgroups: ({ numDecodes }: StepDims) => [Math.ceil(H * D / 4 / 64), numDecodes, 1],
    }),
    kernelCall(pagedAttentionPrefill, {
      constants: { ...base, QUERIES: queryTile, POSITIONS },
      buffers,
      workgroups: ({ numTiles }: StepDims) => [numTiles, G, 1],
    }),
  ];
}

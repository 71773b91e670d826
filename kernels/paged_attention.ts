import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import attend from "./attend.wgsl" with { type: "text" };
import { attendTo, queryOf } from "./attend.ts";
import { type KvConstants, kvConstants, type KvShape } from "./kv_cache.ts";
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
  & KvConstants
  & Readonly<{ SPLIT_LEN: number; SPLITS: number; POSITIONS: number }>;
type PrefillShape =
  & KvShape
  & KvConstants
  & Readonly<{ H: number; QUERIES: number; POSITIONS: number }>;

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

/** Attention of one layer: decodes by splits, longer chunks by tiles. */
export function pagedAttentionCalls(
  shape: AttentionShape,
  buffers: Readonly<Record<"step" | "qkv" | "kv" | "parts" | "peaks" | "out", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { H, G, D, MAX_SPLITS, BLOCK_SIZE, KV_DTYPE } = shape;
  const base = { H, G, D, BLOCK_SIZE, KV_DTYPE, ...kvConstants(shape) };
  const { splitLen, positionTile: POSITIONS } = tuning;
  // Every adapter allows 256 lanes per workgroup; the H / G heads of one KV head sit together.
  const limit = Math.floor(256 * G / H);
  const splitsPerWorkgroup = Math.min(tuning.splitsPerWorkgroup, limit);
  const queryTile = Math.min(tuning.queryTile, limit);
  return [
    kernelCall(pagedAttentionDecode, {
      constants: {
        ...base,
        MAX_SPLITS,
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

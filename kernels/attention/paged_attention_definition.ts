import { numSplitsOf, splitBegin, splitRange } from "../../src/core/read_span.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { attendTo, loadVectors, queryOf, type Scoring, type Splits } from "./attend.ts";
import { type AttentionLayer, qkvHeads } from "../kv/attention_layer.ts";
import {
  type KvPlace,
  kvPlace,
  type KvReads,
  kvReads,
  type KvShape,
  positionsRead,
  spanOf,
} from "../kv/kv_cache.ts";
import { GROUP_WORDS, QUERY_TILE, QUERY_TILE_WORDS, SEQ, SEQ_WORDS, STEP } from "../step.ts";

/** Buffers by binding name. */
type Buffers = Readonly<Record<string, HostBuffer>>;

/** Constants of all kernels of a layer's attention. */
export type AttentionShape =
  & Required<KvShape>
  & Scoring
  & Readonly<{
    H: number;
    /** Heads of a row of `qkv`. */
    QKV_HEADS: number;
    /** Positions per split. */
    SPLIT_LEN: number;
    /** Whether `sinks` has a score of each head that takes weight and has no value. */
    HAS_SINKS: boolean;
  }>;

/** What the combination of splits depends on. */
export type CombineShape =
  & Pick<KvPlace, "GROUP">
  & KvReads
  & Pick<AttentionShape, "H" | "D" | "SPLIT_LEN" | "HAS_SINKS">;

/** The constants of a layer. */
export function attentionShape(
  layer: AttentionLayer,
  { SPLIT_LEN, HAS_SINKS }: Pick<AttentionShape, "SPLIT_LEN" | "HAS_SINKS">,
): AttentionShape {
  const { H, G, D, BLOCK_SIZE, KV_DTYPE, SCALE = 1 / Math.sqrt(D), SOFT_CAP = 0 } = layer;
  return {
    ...{ H, G, D, BLOCK_SIZE, KV_DTYPE, SCALE, SOFT_CAP, SPLIT_LEN, HAS_SINKS },
    ...kvPlace(layer),
    ...kvReads(layer),
    QKV_HEADS: qkvHeads(layer),
  };
}

/** The constants of the combination among those of a layer. */
export function combineShape(shape: AttentionShape): CombineShape {
  const { GROUP, H, D, SPLIT_LEN, HAS_SINKS } = shape;
  return { GROUP, H, D, SPLIT_LEN, HAS_SINKS, ...kvReads(shape) };
}

/** A pool's buffer, from the layer's row in its blocks on. */
const KV_READ = {
  name: "kv",
  access: "read",
  base: ["LAYER_OFFSET", "LAYER_OFFSET_LOADS"],
} as const;

/**
 * Buffers that attention reads and writes, in binding order; `partials` and `stats` are the splits'
 * results.
 */
export const DECODE_BINDINGS = [
  { name: "step", access: "read" },
  { name: "qkv", access: "read" },
  KV_READ,
  { name: "partials", access: "read_write" },
  { name: "stats", access: "read_write" },
] as const;

/** As {@link DECODE_BINDINGS}, for what combines the splits; `sinks` only with HAS_SINKS. */
export const COMBINE_BINDINGS = [
  { name: "step", access: "read" },
  { name: "partials", access: "read" },
  { name: "stats", access: "read" },
  { name: "out", access: "read_write" },
  { name: "sinks", access: "read" },
] as const;

/** As {@link DECODE_BINDINGS}, for chunks; `sinks` only with HAS_SINKS. */
export const PREFILL_BINDINGS = [
  { name: "step", access: "read" },
  { name: "qkv", access: "read" },
  KV_READ,
  { name: "out", access: "read_write" },
  { name: "sinks", access: "read" },
] as const;

/** Word of the `s`th sequence of a layer's cache group. */
function seqWord(words: Uint32Array, s: number, GROUP: number): number {
  return words[STEP.seqs + GROUP * GROUP_WORDS]! + s * SEQ_WORDS;
}

/**
 * Attention of decodes, one partial result per split of `SPLIT_LEN` positions: `partials` f32 [M,
 * D] and `stats` f32 [M, 2] of each sequence and head in turn, where M is what the sequence's query
 * reads of splits. So their size follows from the step's number of splits, also where contexts are
 * ragged.
 */
export function attendDecodes(
  { step, qkv, kv, partials, stats }: Buffers,
  shape: AttentionShape,
): void {
  const { H, G, SPLIT_LEN, GROUP } = shape;
  const words = step!.u32;
  const results = { partials: partials!.f32, stats: stats!.f32 };
  for (let s = 0; s < words[STEP.numDecodes]!; s++) {
    const seq = seqWord(words, s, GROUP);
    const contextLen = words[seq + SEQ.contextLen]!;
    const range = splitRange(spanOf(shape), contextLen, SPLIT_LEN);
    const numSplits = numSplitsOf(range);
    for (let split = 0; split < numSplits; split++) {
      const begin = splitBegin(range, split, SPLIT_LEN);
      const ends = [begin, Math.min(begin + SPLIT_LEN, contextLen)] as const;
      const positions = positionsRead(shape, contextLen - 1, ends);
      const rows = Int32Array.from(positions.keys());
      const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
      for (let head = 0; head < G; head++) {
        const vectors = loadVectors(context, head, positions, shape);
        for (let h = head * H / G; h < (head + 1) * H / G; h++) {
          const query = queryOf(qkv!, words[seq + SEQ.firstRow]!, h, shape);
          const at = words[seq + SEQ.firstSplit]! * H + h * numSplits + split;
          attendTo(query, vectors, rows, shape, results, at);
        }
      }
    }
  }
}

/** Combines the splits of each decode's heads. */
export function combineAllSplits(
  { step, partials, stats, out, sinks }: Buffers,
  shape: CombineShape,
): void {
  const { H, D, SPLIT_LEN, GROUP, HAS_SINKS } = shape;
  const words = step!.u32;
  const splits = { partials: partials!.f32, stats: stats!.f32 };
  for (let s = 0; s < words[STEP.numDecodes]!; s++) {
    const seq = seqWord(words, s, GROUP);
    const contextLen = words[seq + SEQ.contextLen]!;
    const count = numSplitsOf(splitRange(spanOf(shape), contextLen, SPLIT_LEN));
    for (let h = 0; h < H; h++) {
      const first = words[seq + SEQ.firstSplit]! * H + h * count;
      const sink = HAS_SINKS ? sinks!.f32[h]! : undefined;
      const at = (words[seq + SEQ.firstRow]! * H + h) * D;
      combineSplits(splits, [first, first + count], sink, out!.f32.subarray(at, at + D));
    }
  }
}

/**
 * The attention of a context, f32 [D], from that of its splits `[begin, end)`, in the order of
 * their positions; at least one. A `sink` is the score of what takes weight and has no value.
 */
function combineSplits(
  { partials, stats }: Splits,
  [begin, end]: readonly [number, number],
  sink: number | undefined,
  out: Float32Array,
): void {
  const D = out.length;
  let max = sink ?? -Infinity;
  for (let m = begin; m < end; m++) max = Math.max(max, stats[2 * m]!);
  let total = sink === undefined ? 0 : Math.exp(sink - max);
  const weights: number[] = [];
  for (let m = begin; m < end; m++) {
    const weight = Math.exp(stats[2 * m]! - max);
    weights.push(weight);
    total += stats[2 * m + 1]! * weight;
  }
  for (let d = 0; d < D; d++) {
    let sum = 0;
    for (let m = begin; m < end; m++) sum += partials[m * D + d]! * weights[m - begin]!;
    out[d] = sum / total;
  }
}

/**
 * Causal attention of chunks: of each row as {@link attendDecodes} and {@link combineAllSplits} do
 * it, to the bit.
 */
export function attendTiles({ step, qkv, kv, out, sinks }: Buffers, shape: AttentionShape): void {
  const { H, G, D, GROUP, HAS_SINKS } = shape;
  const words = step!.u32;
  for (let n = 0; n < words[STEP.numQueryTiles]!; n++) {
    const tile = words[STEP.queryTiles]! + n * QUERY_TILE_WORDS;
    const seq = seqWord(words, words[tile + QUERY_TILE.seq]!, GROUP);
    const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
    const firstRow = words[tile + QUERY_TILE.firstRow]!;
    const numRows = words[tile + QUERY_TILE.numRows]!;
    const position = words[tile + QUERY_TILE.position]!;
    const runs = Array.from({ length: numRows }, (_, i) => splitsRead(shape, position + i));
    const { positions, rowsOf } = unionOf(runs.flat(), position + numRows);
    const splits = runs.map((ofRow) => ofRow.map(rowsOf));
    const most = Math.max(...splits.map(({ length }) => length));
    // As the buffers between the two keep them.
    const own = { partials: new Float32Array(most * D), stats: new Float32Array(most * 2) };
    for (let head = 0; head < G; head++) {
      const vectors = loadVectors(context, head, positions, shape);
      for (let h = head * H / G; h < (head + 1) * H / G; h++) {
        const sink = HAS_SINKS ? sinks!.f32[h]! : undefined;
        for (let i = 0; i < numRows; i++) {
          const query = queryOf(qkv!, firstRow + i, h, shape);
          const ofRow = splits[i]!;
          for (let m = 0; m < ofRow.length; m++) attendTo(query, vectors, ofRow[m]!, shape, own, m);
          const at = ((firstRow + i) * H + h) * D;
          combineSplits(own, [0, ofRow.length], sink, out!.f32.subarray(at, at + D));
        }
      }
    }
  }
}

/** All positions below `end` that are in some run, and where among them those of each run are. */
function unionOf(runs: readonly (readonly number[])[], end: number) {
  const rows = new Int32Array(end).fill(-1);
  for (const run of runs) for (const p of run) rows[p] = 0;
  const positions: number[] = [];
  for (let p = 0; p < end; p++) if (rows[p] === 0) rows[p] = positions.push(p) - 1;
  const rowsOf = (run: readonly number[]) => {
    const own = new Int32Array(run.length);
    for (let i = 0; i < run.length; i++) own[i] = rows[run[i]!]!;
    return own;
  };
  return { positions, rowsOf };
}

/** The positions that the query at `position` reads, split by split. */
function splitsRead(shape: AttentionShape, position: number): number[][] {
  const { SPLIT_LEN } = shape;
  const range = splitRange(spanOf(shape), position + 1, SPLIT_LEN);
  return Array.from({ length: numSplitsOf(range) }, (_, i) => {
    const begin = splitBegin(range, i, SPLIT_LEN);
    return positionsRead(shape, position, [begin, Math.min(begin + SPLIT_LEN, position + 1)]);
  });
}

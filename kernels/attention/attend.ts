import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { type KvShape, loadKv } from "../kv/kv_cache.ts";
import { tableEntry } from "../step.ts";

/** A sequence's context in the pool, with its `SEQ.table` of the step. */
export interface PagedContext {
  readonly kv: HostBuffer;
  readonly words: Uint32Array;
  readonly table: number;
}

/** The attention of one query row, not yet divided by `total`, the sum of its weights. */
export interface Attended {
  readonly output: Float32Array;
  /** The largest score; weights are relative to it. */
  readonly max: number;
  readonly total: number;
}

/** How scores come of queries and keys. */
export type Scoring = Readonly<{
  /** Factor of the dot product. */
  SCALE: number;
  /** 0 for none. */
  SOFT_CAP: number;
}>;

/** One query head's row of `qkv` f32 [T, QKV_HEADS, D]. */
export function queryOf(
  qkv: HostBuffer,
  row: number,
  head: number,
  { QKV_HEADS, D }: { QKV_HEADS: number; D: number },
): Float32Array {
  const first = (row * QKV_HEADS + head) * D;
  return qkv.f32.subarray(first, first + D);
}

/** The definition: softmax in two passes over these positions, at least one, of one KV head. */
export function attendTo(
  query: Float32Array,
  { kv, words, table }: PagedContext,
  head: number,
  positions: readonly number[],
  shape: KvShape & Scoring,
): Attended {
  const { D, BLOCK_SIZE, SCALE, SOFT_CAP } = shape;
  const slotOf = (p: number) =>
    tableEntry(words, table, Math.floor(p / BLOCK_SIZE)) * BLOCK_SIZE + p % BLOCK_SIZE;
  const vector = new Float32Array(D);
  const scores = new Float32Array(positions.length);
  for (const [i, p] of positions.entries()) {
    loadKv(kv, { slot: slotOf(p), which: 0, head }, shape, vector);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += query[d]! * vector[d]!;
    const score = sum * SCALE;
    scores[i] = SOFT_CAP > 0 ? SOFT_CAP * Math.tanh(score / SOFT_CAP) : score;
  }
  const max = scores.reduce((top, score) => Math.max(top, score), -Infinity);
  const output = new Float32Array(D);
  let total = 0;
  for (const [i, p] of positions.entries()) {
    const weight = Math.exp(scores[i]! - max);
    loadKv(kv, { slot: slotOf(p), which: 1, head }, shape, vector);
    total += weight;
    for (let d = 0; d < D; d++) output[d]! += weight * vector[d]!;
  }
  return { output, max, total };
}

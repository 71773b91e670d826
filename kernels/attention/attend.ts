import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { type KvShape, loadKv } from "../kv/kv_cache.ts";

/** A sequence's context in the pool: its block table begins at word `table` of the step. */
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

/** One query head's row of `qkv` f32 [T, H + 2G, D]. */
export function queryOf(
  qkv: HostBuffer,
  row: number,
  head: number,
  { H, G, D }: { H: number; G: number; D: number },
): Float32Array {
  const first = (row * (H + 2 * G) + head) * D;
  return qkv.f32.subarray(first, first + D);
}

/** The definition: softmax in two passes over positions `[begin, end)` of one KV head. */
export function attendTo(
  query: Float32Array,
  { kv, words, table }: PagedContext,
  head: number,
  [begin, end]: readonly [number, number],
  shape: KvShape,
): Attended {
  const { D, BLOCK_SIZE } = shape;
  const slotOf = (p: number) =>
    words[table + Math.floor(p / BLOCK_SIZE)]! * BLOCK_SIZE + p % BLOCK_SIZE;
  const vector = new Float32Array(D);
  const scores = new Float32Array(end - begin);
  for (let p = begin; p < end; p++) {
    loadKv(kv, { slot: slotOf(p), which: 0, head }, shape, vector);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += query[d]! * vector[d]!;
    scores[p - begin] = sum / Math.sqrt(D);
  }
  const max = scores.reduce((top, score) => Math.max(top, score), -Infinity);
  const output = new Float32Array(D);
  let total = 0;
  for (let p = begin; p < end; p++) {
    const weight = Math.exp(scores[p - begin]! - max);
    loadKv(kv, { slot: slotOf(p), which: 1, head }, shape, vector);
    total += weight;
    for (let d = 0; d < D; d++) output[d]! += weight * vector[d]!;
  }
  return { output, max, total };
}

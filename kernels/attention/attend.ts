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

/** K and V of one KV head at some positions, f32 [positions, D] each, decoded. */
export interface HeadVectors {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Reads K and V of a head at these positions, each once for all queries that attend to it. */
export function loadVectors(
  { kv, words, table }: PagedContext,
  head: number,
  positions: ArrayLike<number>,
  shape: KvShape,
): HeadVectors {
  const { D, BLOCK_SIZE } = shape;
  const keys = new Float32Array(positions.length * D);
  const values = new Float32Array(positions.length * D);
  for (let i = 0; i < positions.length; i++) {
    const p = positions[i]!;
    const slot = tableEntry(words, table, Math.floor(p / BLOCK_SIZE)) * BLOCK_SIZE + p % BLOCK_SIZE;
    loadKv(kv, { slot, which: 0, head }, shape, keys.subarray(i * D, (i + 1) * D));
    loadKv(kv, { slot, which: 1, head }, shape, values.subarray(i * D, (i + 1) * D));
  }
  return { keys, values };
}

/** The definition: softmax in two passes over these rows of the vectors, at least one. */
export function attendTo(
  query: Float32Array,
  { keys, values }: HeadVectors,
  rows: Int32Array,
  scoring: Scoring,
): Attended {
  const D = query.length;
  const scores = scoresOf(query, keys, rows, scoring);
  let max = -Infinity;
  for (let i = 0; i < scores.length; i++) max = Math.max(max, scores[i]!);
  const output = new Float32Array(D);
  let total = 0;
  for (let i = 0; i < rows.length; i++) {
    const weight = Math.exp(scores[i]! - max);
    const first = rows[i]! * D;
    total += weight;
    for (let d = 0; d < D; d++) output[d]! += weight * values[first + d]!;
  }
  return { output, max, total };
}

/** Scores of a query, of four keys at a time: a CPU's pipeline overlaps their sums. */
function scoresOf(
  query: Float32Array,
  keys: Float32Array,
  rows: Int32Array,
  scoring: Scoring,
): Float32Array {
  const D = query.length;
  const scores = new Float32Array(rows.length);
  const last = rows.length - 1;
  for (let i = 0; i <= last; i += 4) {
    const ka = rows[i]! * D;
    const kb = rows[Math.min(i + 1, last)]! * D;
    const kc = rows[Math.min(i + 2, last)]! * D;
    const kd = rows[Math.min(i + 3, last)]! * D;
    let [a, b, c, e] = [0, 0, 0, 0];
    for (let d = 0; d < D; d++) {
      const q = query[d]!;
      a += q * keys[ka + d]!;
      b += q * keys[kb + d]!;
      c += q * keys[kc + d]!;
      e += q * keys[kd + d]!;
    }
    // What lies past the end of the scores is not kept.
    scores[i] = scoreOf(a, scoring);
    scores[i + 1] = scoreOf(b, scoring);
    scores[i + 2] = scoreOf(c, scoring);
    scores[i + 3] = scoreOf(e, scoring);
  }
  return scores;
}

function scoreOf(product: number, { SCALE, SOFT_CAP }: Scoring): number {
  const score = product * SCALE;
  return SOFT_CAP > 0 ? SOFT_CAP * Math.tanh(score / SOFT_CAP) : score;
}

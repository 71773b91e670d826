import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { type KvShape, loadKv } from "../kv/kv_cache.ts";
import { tableEntry } from "../step.ts";

/** A sequence's context in the pool, with its `SEQ.table` of the step. */
export interface PagedContext {
  readonly kv: HostBuffer;
  readonly words: Uint32Array;
  readonly table: number;
}

/**
 * What splits hand to their combination, several in one memory: `partials` f32 [M, D], attention
 * that is not yet divided by the sum of its weights, and `stats` f32 [M, 2], the largest score,
 * which weights are relative to, and their sum.
 */
export interface Splits {
  readonly partials: Float32Array;
  readonly stats: Float32Array;
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

/**
 * K and V of one KV head at some positions, f32 [positions, D] each, decoded, and room for a score
 * of each.
 */
export interface HeadVectors {
  readonly keys: Float32Array;
  readonly values: Float32Array;
  readonly scores: Float32Array;
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
    loadKv(kv, { slot, which: 0, head }, shape, keys, i * D);
    loadKv(kv, { slot, which: 1, head }, shape, values, i * D);
  }
  return { keys, values, scores: new Float32Array(positions.length) };
}

/**
 * The definition: softmax in two passes over these rows of the vectors, at least one and none
 * twice, as the `m`th of some splits.
 */
export function attendTo(
  query: Float32Array,
  vectors: HeadVectors,
  rows: Int32Array,
  scoring: Scoring,
  { partials, stats }: Splits,
  m: number,
): void {
  const D = query.length;
  const { values, scores } = vectors;
  score(query, vectors, rows, scoring);
  let max = -Infinity;
  for (let i = 0; i < rows.length; i++) max = Math.max(max, scores[i]!);
  const at = m * D;
  for (let d = 0; d < D; d++) partials[at + d] = 0;
  let total = 0;
  for (let i = 0; i < rows.length; i++) {
    const weight = Math.exp(scores[i]! - max);
    const first = rows[i]! * D;
    total += weight;
    for (let d = 0; d < D; d++) partials[at + d]! += weight * values[first + d]!;
  }
  stats[2 * m] = max;
  stats[2 * m + 1] = total;
}

/** Scores a query with these rows, four at a time: a CPU's pipeline overlaps their sums. */
function score(
  query: Float32Array,
  { keys, scores }: HeadVectors,
  rows: Int32Array,
  scoring: Scoring,
): void {
  const D = query.length;
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
    // Nobody reads what lies past the last row's.
    scores[i] = scoreOf(a, scoring);
    scores[i + 1] = scoreOf(b, scoring);
    scores[i + 2] = scoreOf(c, scoring);
    scores[i + 3] = scoreOf(e, scoring);
  }
}

function scoreOf(product: number, { SCALE, SOFT_CAP }: Scoring): number {
  const score = product * SCALE;
  return SOFT_CAP > 0 ? SOFT_CAP * Math.tanh(score / SOFT_CAP) : score;
}

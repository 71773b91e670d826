import type { QuantizedKvCacheDtype } from "../../src/core/kv_layout.ts";
import { KV_DTYPES } from "./dtypes.ts";

/**
 * Vectors whose elements are all smaller than this are stored as zeros, so that no quotient
 * overflows.
 */
export const MIN_ABSMAX = 1e-30;

/**
 * Writes the codes of a vector and returns its scale, in f32: the largest magnitude over the code's
 * `max`.
 *
 * Symmetric, rounded to nearest even. One scale per token and head needs nothing of other tokens,
 * so that a position is written once and never again; scales per channel of K (KIVI, Liu 2024,
 * 2402.02750) fit its outliers better, but only once a group of positions is complete.
 */
export function encodeVector(
  values: Float32Array,
  dtype: QuantizedKvCacheDtype,
  codes: Uint8Array,
): number {
  const { max, encode } = KV_DTYPES[dtype].code;
  const absmax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const inverse = absmax < MIN_ABSMAX ? 0 : Math.fround(max / absmax);
  codes.fill(0);
  values.forEach((value, d) => encode(codes, d, Math.fround(value * inverse)));
  return Math.fround(absmax * Math.fround(1 / max));
}

/** The elements of a vector from its codes and its scale. */
export function decodeVector(
  codes: Uint8Array,
  dtype: QuantizedKvCacheDtype,
  scale: number,
  values: Float32Array,
): void {
  const { decode } = KV_DTYPES[dtype].code;
  for (let d = 0; d < values.length; d++) values[d] = scale * decode(codes, d);
}

import type { QuantizedKvCacheDtype } from "../../src/core/kv_layout.ts";
import { KV_DTYPES } from "./dtypes.ts";

/**
 * Vectors whose elements are all smaller than this are stored as zeros, so that no quotient
 * overflows.
 */
export const MIN_ABSMAX = 1e-30;

/**
 * Writes the codes of a vector and returns its scale, in f32: the largest magnitude over the code's
 * `max`, or where the code has `shares` the best one found by least squares.
 *
 * Symmetric. One scale per token and head needs nothing of other tokens, so that a position is
 * written once and never again; scales per channel of K (KIVI, Liu 2024, 2402.02750) fit its
 * outliers better, but only once a group of positions is complete.
 */
export function encodeVector(
  values: Float32Array,
  dtype: QuantizedKvCacheDtype,
  codes: Uint8Array,
): number {
  const { max, shares } = KV_DTYPES[dtype].code;
  const absmax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const isZero = absmax < MIN_ABSMAX;
  const inverse = isZero ? 0 : Math.fround(max / absmax);
  const scaled = values.map((value) => value * inverse);
  const scale = Math.fround(absmax * Math.fround(1 / max));
  if (shares.length === 0 || isZero) {
    writeCodes(scaled, dtype, codes);
    return shares.length === 0 ? scale : 0;
  }
  const fits = shares.map((share) => fit(scaled, Math.fround(1 / share), dtype, codes));
  const best = fits.reduce((best, other) => other.explained > best.explained ? other : best);
  const refitted = fit(scaled, Math.fround(1 / best.scale), dtype, codes);
  return Math.fround(scale * refitted.scale);
}

/**
 * Writes the codes of `inverse * scaled`. With codes c the best scale is `sum(x c) / sum(c^2)`, and
 * what it leaves of the sum of squares is less by `sum(x c)^2 / sum(c^2)`: that is explained.
 */
function fit(
  scaled: Float32Array,
  inverse: number,
  dtype: QuantizedKvCacheDtype,
  codes: Uint8Array,
): { scale: number; explained: number } {
  writeCodes(scaled.map((value) => value * inverse), dtype, codes);
  let [products, squares] = [0, 0];
  scaled.forEach((value, d) => {
    const level = KV_DTYPES[dtype].code.decode(codes, d);
    products += value * level;
    squares += level * level;
  });
  return { scale: Math.fround(products / squares), explained: products * products / squares };
}

function writeCodes(scaled: Float32Array, dtype: QuantizedKvCacheDtype, codes: Uint8Array): void {
  codes.fill(0);
  scaled.forEach((value, d) => KV_DTYPES[dtype].code.encode(codes, d, value));
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

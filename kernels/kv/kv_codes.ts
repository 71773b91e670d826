import type { QuantizedDtype } from "../../src/core/kv_layout.ts";
import { E4M3_MAX, e4m3ToF32, f32ToE4m3, roundToEven } from "./e4m3.ts";

/** The value of the code that a vector's largest element gets. */
export const CODE_MAX: Readonly<Record<QuantizedDtype, number>> = {
  int8: 127,
  fp8: E4M3_MAX,
  int4: 7,
};

/** Vectors whose elements are all smaller than this are stored as zeros, so that no quotient overflows. */
export const MIN_ABSMAX = 1e-30;

/**
 * Writes the codes of a vector and returns its scale, in f32: the largest magnitude over `CODE_MAX`.
 *
 * Symmetric, rounded to nearest even. One scale per token and head needs nothing of other tokens, so that
 * a position is written once and never again; scales per channel of K (KIVI, Liu 2024, 2402.02750) fit its
 * outliers better, but only once a group of positions is complete.
 */
export function encodeVector(
  values: Float32Array,
  dtype: QuantizedDtype,
  codes: Uint8Array,
): number {
  const absmax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const inverse = absmax < MIN_ABSMAX ? 0 : Math.fround(CODE_MAX[dtype] / absmax);
  codes.fill(0);
  values.forEach((value, d) => {
    const scaled = Math.fround(value * inverse);
    if (dtype === "fp8") codes[d] = f32ToE4m3(scaled);
    else if (dtype === "int8") codes[d] = signedRound(scaled, CODE_MAX.int8);
    else codes[int4Byte(d)]! |= (signedRound(scaled, CODE_MAX.int4) & 15) << int4Shift(d);
  });
  return Math.fround(absmax * Math.fround(1 / CODE_MAX[dtype]));
}

/** The elements of a vector from its codes and its scale. */
export function decodeVector(
  codes: Uint8Array,
  dtype: QuantizedDtype,
  scale: number,
  values: Float32Array,
): void {
  for (let d = 0; d < values.length; d++) {
    if (dtype === "fp8") values[d] = scale * e4m3ToF32(codes[d]!);
    else if (dtype === "int8") values[d] = scale * (codes[d]! << 24 >> 24);
    else values[d] = scale * (codes[int4Byte(d)]! << 28 - int4Shift(d) >> 28);
  }
}

/**
 * In int4, a word holds elements `[8w, 8w + 8)`: the low nibbles of its bytes the first four, the high
 * ones the last four, so that either four are unpacked as signed bytes at once.
 */
function int4Byte(d: number): number {
  return (d >> 3) * 4 + d % 4;
}

function int4Shift(d: number): number {
  return d & 4;
}

function signedRound(value: number, most: number): number {
  const size = Math.min(roundToEven(Math.abs(value)), most);
  return value < 0 ? -size : size;
}

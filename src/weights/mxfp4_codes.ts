// MXFP4 of OCP Microscaling Formats 1.0 (2023): codes of E2M1, 32 of them to a scale of E8M0.

/** The numbers of the codes of E2M1: sign, two bits of exponent, one of mantissa. */
export const E2M1: readonly number[] = [
  ...[0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6],
];

/** The number of a scale's byte: two to the power of it less 127; not a number for 255. */
export function e8m0Value(byte: number): number {
  return byte === 255 ? NaN : 2 ** (byte - 127);
}

/**
 * Half of a scale, by which twice a code, a whole number, is multiplied; undefined where that is no
 * f16: outside of 2^-24 to 2^15.
 */
export function f16ScaleOf(byte: number): number | undefined {
  return byte < 104 || byte > 143 ? undefined : 2 ** (byte - 128);
}

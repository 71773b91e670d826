import { roundToEven } from "../rounding.ts";

/** Largest finite value: 1.75 * 2^8. */
export const E4M3_MAX = 448;
/** Smallest normal value; below it values lie 2^-9 apart. */
const MIN_NORMAL = 2 ** -6;
const SUBNORMAL_STEP = 2 ** -9;
const NAN_CODE = 0x7f;

const VALUES = Float32Array.from({ length: 256 }, (_, code) => decode(code));

/**
 * The value of an fp8 code: sign, four bits of exponent with bias 7, three of mantissa, no
 * infinities (E4M3 of Micikevicius 2022, 2209.05433).
 */
export function e4m3ToF32(code: number): number {
  return VALUES[code]!;
}

/** The code nearest to `value`, ties to even; what is beyond 448 becomes 448. NaN stays NaN. */
export function f32ToE4m3(value: number): number {
  if (Number.isNaN(value)) return NAN_CODE;
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const size = Math.min(Math.abs(value), E4M3_MAX);
  if (size < MIN_NORMAL) return sign | roundToEven(size / SUBNORMAL_STEP);
  const exponent = Math.floor(Math.log2(size));
  // A mantissa that rounds up to the next power of two carries into the exponent's bits.
  const mantissa = roundToEven((size / 2 ** exponent - 1) * 8);
  return sign | ((exponent + 7 << 3) + mantissa);
}

function decode(code: number): number {
  const sign = code & 0x80 ? -1 : 1;
  const [exponent, mantissa] = [code >> 3 & 15, code & 7];
  if ((code & 0x7f) === NAN_CODE) return NaN;
  if (exponent === 0) return sign * mantissa * SUBNORMAL_STEP;
  return sign * (1 + mantissa / 8) * 2 ** (exponent - 7);
}

/** Element types of weights that Quire reads, by their safetensors names. */
export type TensorDtype = "F32" | "F16" | "BF16";

/** Element types of a file's tensors: also the bytes of which MXFP4 consists (`mxfp4.ts`). */
export type StoredDtype = TensorDtype | "U8";

/** A tensor as its file has it. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly numElements: number;
  readonly bytes: number;
}

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<TensorDtype, number>> = { F32: 4, F16: 2, BF16: 2 };

/** The same of what files have. */
export const STORED_BYTES: Readonly<Record<StoredDtype, number>> = { ...DTYPE_BYTES, U8: 1 };

/** Bits of the f32 equal to each of the 65,536 f16 bit patterns; every f16 is exact in f32. */
const F16_TO_F32_BITS = Uint32Array.from({ length: 0x10000 }, (_, half) => f16ToF32Bits(half));

const F16_VALUES = new Float32Array(F16_TO_F32_BITS.buffer);

/** The number that an f16 bit pattern stands for. */
export function f16Value(half: number): number {
  return F16_VALUES[half]!;
}

function f16ToF32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  // Subnormal: mantissa * 2^-24. Shift the leading one to bit 10, where f32 keeps it implicit.
  const shift = Math.clz32(mantissa) - 21;
  return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0;
}

/** Widens f16 bit patterns to f32, exactly, subnormals, infinities and NaN included. */
export function f16ToF32(source: Uint16Array, into: Float32Array): void {
  const bits = bitsOf(into, source.length);
  for (let i = 0; i < source.length; i++) bits[i] = F16_TO_F32_BITS[source[i]!]!;
}

/** Widens bf16 bit patterns (the upper half of an f32) to f32, exactly. */
export function bf16ToF32(source: Uint16Array, into: Float32Array): void {
  const bits = bitsOf(into, source.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/**
 * Widens the little-endian elements in `bytes` to f32, whatever their type.
 *
 * @throws {RangeError} when the two lengths disagree.
 */
export function decodeToF32(dtype: TensorDtype, bytes: Uint8Array, into: Float32Array): void {
  requireLength(bytes.byteLength, into.length * DTYPE_BYTES[dtype]);
  if (dtype === "F32") {
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
    return;
  }
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const source = new Uint16Array(aligned.buffer, aligned.byteOffset, into.length);
  if (dtype === "F16") f16ToF32(source, into);
  else bf16ToF32(source, into);
}

function bitsOf(array: Float32Array, length: number): Uint32Array {
  requireLength(array.length, length);
  return new Uint32Array(array.buffer, array.byteOffset, array.length);
}

function requireLength(actual: number, expected: number): void {
  if (actual !== expected) {
    throw new RangeError(`Cannot convert: length is ${actual}, must be ${expected}`);
  }
}

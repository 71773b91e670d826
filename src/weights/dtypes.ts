import { f16BitsToF32 } from "../base/float_bits.ts";

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

/** Widens f16 bit patterns to f32, exactly, subnormals, infinities and NaN included. */
export function f16ToF32(source: Uint16Array, into: Float32Array): void {
  requireLength(into.length, source.length);
  for (let i = 0; i < source.length; i++) into[i] = f16BitsToF32(source[i]!);
}

/** Widens bf16 bit patterns (the upper half of an f32) to f32, exactly. */
export function bf16ToF32(source: Uint16Array, into: Float32Array): void {
  requireLength(into.length, source.length);
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
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

function requireLength(actual: number, expected: number): void {
  if (actual !== expected) {
    throw new RangeError(`Cannot convert: length is ${actual}, must be ${expected}`);
  }
}

import { f16BitsToF32 } from "../../base/float_bits.ts";

/**
 * Writes the numbers of the block that begins at byte `at` to `into` from index `to` on. What a
 * format's rule computes in f32 comes out with the same bits.
 */
export type DecodeBlock = (
  bytes: Uint8Array,
  at: number,
  into: Float32Array,
  to: number,
) => void;

/** The little-endian f16 at byte `at`. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return f16BitsToF32(bytes[at]! | (bytes[at + 1]! << 8));
}

/** The byte at `at` in two's complement. */
export function signedAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) >> 24;
}

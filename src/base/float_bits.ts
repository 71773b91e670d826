const F32 = new Float32Array(1);
const BITS = new Uint32Array(F32.buffer);
const HALF = new Float16Array(1);
const HALF_BITS = new Uint16Array(HALF.buffer);

/** The f32 equal to each of the 65,536 halves, by its bits: a table is faster than arithmetic. */
const HALF_TO_F32 = new Float32Array(
  new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
);

/** The f32 value of IEEE binary16 `bits`. */
export function f16BitsToF32(bits: number): number {
  return HALF_TO_F32[bits]!;
}

/** IEEE binary16 bits of `value`, rounded to nearest even, as WGSL's `pack2x16float` does. */
export function f32ToF16Bits(value: number): number {
  HALF[0] = value;
  return HALF_BITS[0]!;
}

/** The u32 bit pattern of `value` rounded to f32. */
export function f32ToBits(value: number): number {
  F32[0] = value;
  return BITS[0]!;
}

/** The f32 value of a u32 bit pattern. */
export function bitsToF32(bits: number): number {
  BITS[0] = bits;
  return F32[0]!;
}

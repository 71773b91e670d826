import { isQuantizedKv, KV_STORAGE } from "../../src/core/kv_layout.ts";
import { f16BitsToF32, f32ToF16Bits } from "../../src/base/float_bits.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { hadamard } from "./hadamard.ts";
import { type KvShape, type KvVector, kvWords, storeKv } from "./kv_cache.ts";

/** The NaN that K has in f16 where a number is merely too large, in K or in V. */
export const TOO_LARGE_F16 = 0x7fff;

/** Magnitudes from this on count as infinite where sums of up to 128 are stored. */
export const MAX_TRANSFORMED = 2 ** 120;

/**
 * Writes K and V of one head at one position: D elements each, which it may change.
 *
 * An element that is not a finite number in the buffer's dtype, in K or in V, makes K's NaN and V's
 * 0, in codes the whole of K and V: rows that attend to the position get NaN, and no others. Where
 * the dtype has them transformed, so are they.
 */
export function storeKeyAndValue(
  kv: HostBuffer,
  { slot, head }: Pick<KvVector, "slot" | "head">,
  shape: KvShape,
  key: Float32Array,
  value: Float32Array,
): void {
  const { KV_DTYPE } = shape;
  const { isTransformed } = KV_STORAGE[KV_DTYPE];
  const rounded = (x: number) => KV_DTYPE === "f16" ? f16BitsToF32(f32ToF16Bits(x)) : x;
  const isBad = (x: number) =>
    isTransformed ? !(Math.abs(x) < MAX_TRANSFORMED) : !Number.isFinite(rounded(x));
  const tooLarge: number[] = [];
  if (isQuantizedKv(KV_DTYPE)) {
    const isValueBad = value.some(isBad);
    if (isValueBad || key.some(isBad)) key.fill(NaN);
    if (isValueBad) value.fill(0);
  } else {
    for (let d = 0; d < key.length; d++) {
      const [isKeyBad, isValueBad] = [isBad(key[d]!), isBad(value[d]!)];
      if (!isKeyBad && !isValueBad) continue;
      const isLarge = (isBad: boolean, x: number) => isBad && !Number.isNaN(x);
      if (isLarge(isKeyBad, key[d]!) || isLarge(isValueBad, value[d]!)) tooLarge.push(d);
      key[d] = NaN;
      if (isValueBad) value[d] = 0;
    }
  }
  if (isTransformed) [key, value].forEach(hadamard);
  storeKv(kv, { slot, which: 0, head }, shape, key);
  storeKv(kv, { slot, which: 1, head }, shape, value);
  if (KV_DTYPE !== "f16") return;
  const { first } = kvWords({ slot, which: 0, head }, shape);
  for (const d of tooLarge) kv.u16[2 * first + d] = TOO_LARGE_F16;
}

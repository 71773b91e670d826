import { bitsToF32, f16BitsToF32, f32ToBits, f32ToF16Bits } from "../src/device/half.ts";
import type { HostBuffer } from "../src/device/host_buffer.ts";

/** Element type of K and V in the pool. */
export type KvDtype = "f16" | "f32";

/** What addresses an element of one layer's KV buffer: `[block][K|V][kv head][offset][dim]`. */
export type KvShape = Readonly<{ G: number; D: number; BLOCK_SIZE: number; KV_DTYPE: KvDtype }>;

/** Index of the first element of one head's K (`which` 0) or V (1) row at a position's slot. */
export function kvRow(slot: number, which: 0 | 1, head: number, shape: KvShape): number {
  const { G, D, BLOCK_SIZE } = shape;
  const block = Math.floor(slot / BLOCK_SIZE);
  return (((block * 2 + which) * G + head) * BLOCK_SIZE + slot % BLOCK_SIZE) * D;
}

/** Reads element `index` of a KV buffer. */
export function loadKv(kv: HostBuffer, index: number, dtype: KvDtype): number {
  return dtype === "f16" ? f16BitsToF32(kv.u16[index]!) : bitsToF32(kv.u32[index]!);
}

/** Writes element `index` of a KV buffer, rounding to its type. */
export function storeKv(kv: HostBuffer, index: number, dtype: KvDtype, value: number): void {
  if (dtype === "f16") kv.u16[index] = f32ToF16Bits(value);
  else kv.u32[index] = f32ToBits(value);
}

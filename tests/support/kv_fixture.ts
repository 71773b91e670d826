import { kvPlace, type KvShape, storeKv } from "../../kernels/kv/kv_cache.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { noise } from "./agreement.ts";

/**
 * One layer's KV of sequences by their block tables, and poison wherever none of them has written,
 * unused blocks and slots past a context's end: NaN in f16 and f32, and as the scales of codes.
 */
export function filledKv(
  shape: KvShape,
  numBlocks: number,
  tables: readonly (readonly number[])[],
  contextLens: readonly number[],
): Uint32Array {
  const { G, D, BLOCK_SIZE } = shape;
  const pool = new HostBuffer("kv", 4 * numBlocks * kvPlace(shape).STRIDE);
  pool.u8.fill(0xff);
  tables.forEach((table, s) => {
    const fresh = noise(contextLens[s]! * 2 * G * D, s + 1);
    let at = 0;
    for (let p = 0; p < contextLens[s]!; p++) {
      const slot = table[Math.floor(p / BLOCK_SIZE)]! * BLOCK_SIZE + p % BLOCK_SIZE;
      for (const which of [0, 1] as const) {
        for (let head = 0; head < G; head++, at += D) {
          storeKv(pool, { slot, which, head }, shape, fresh.subarray(at, at + D));
        }
      }
    }
  });
  return pool.u32;
}

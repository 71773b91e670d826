import { ceilDiv } from "../base/math.ts";
import type { KvCacheDtype } from "../core/engine_config.ts";

/**
 * What decides the size of the KV cache.
 *
 * One layer's buffer is `[block][K|V][kv_head][offset][head_dim]`, row-major: a block is one
 * contiguous run of bytes, and within it the positions of one head follow each other, which is the
 * order attention reads them in. `offset` counts positions within the block.
 */
export interface KvGeometry {
  readonly numLayers: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly dtype: KvCacheDtype;
}

const ELEMENT_BYTES: Readonly<Record<KvCacheDtype, number>> = { f16: 2, f32: 4 };

/** Bytes that one token position takes in one layer: its K and its V, all heads. */
export function layerBytesPerToken(geometry: Omit<KvGeometry, "numLayers">): number {
  return 2 * geometry.numKvHeads * geometry.headDim * ELEMENT_BYTES[geometry.dtype];
}

/** Bytes that one token position takes in all layers together. */
export function kvBytesPerToken(geometry: KvGeometry): number {
  return geometry.numLayers * layerBytesPerToken(geometry);
}

/** Bytes that one block of `blockSize` positions takes in all layers together. */
export function kvBytesPerBlock(geometry: KvGeometry, blockSize: number): number {
  return blockSize * kvBytesPerToken(geometry);
}

/** Blocks that hold `numTokens` positions, the last one perhaps in part. */
export function numBlocksForTokens(numTokens: number, blockSize: number): number {
  return ceilDiv(numTokens, blockSize);
}

/** Whole blocks that fit into `budgetBytes`, all layers together. */
export function numBlocksForBytes(
  budgetBytes: number,
  geometry: KvGeometry,
  blockSize: number,
): number {
  return Math.floor(budgetBytes / kvBytesPerBlock(geometry, blockSize));
}

import { ceilDiv } from "../base/math.ts";
import type { KvHeads } from "./cache_group.ts";
import type { EngineConfig, KvCacheDtype } from "./engine_config.ts";

/**
 * How K and V are stored.
 *
 * A layer's block is `[K|V][kv_head][offset][head_dim]`, row-major, followed by the scales
 * `[K|V][kv_head][offset]` in f32 where the layer's dtype is quantized. So it is one contiguous run
 * of bytes that is copied, shared and dropped whole, and within it the positions of one head follow
 * each other, which is the order attention reads them in. `offset` counts positions within the
 * block. Layers may differ in dtype, and so in bytes per block; where blocks lie says
 * `kv_buffers.ts`.
 */
export interface KvFormat {
  readonly dtype: KvCacheDtype;
  /**
   * Whether the first and the last layer keep f16 where `dtype` is quantized; default: for int4.
   */
  readonly f16EdgeLayers?: boolean | undefined;
}

/** What decides the room that a dtype takes. */
export interface KvStorageTraits {
  /** Of one element. */
  readonly bits: number;
  /** Of each vector's scale; 0 where elements are no codes. */
  readonly scaleBytes: 0 | 4;
  /** Elements of a head, and the rotated ones of them, are a multiple: whole words, and loads. */
  readonly headDimMultiple: number;
  /**
   * Whether K and V are stored as their Walsh-Hadamard transforms, whose elements are of more even
   * size (`kernels/kv/hadamard.ts`).
   */
  readonly isTransformed: boolean;
}

/** The dtypes' rows as far as memory goes; `kernels/kv/dtypes.ts` has the rest of each. */
export const KV_STORAGE: Readonly<Record<KvCacheDtype, KvStorageTraits>> = {
  f16: { bits: 16, scaleBytes: 0, headDimMultiple: 4, isTransformed: false },
  f32: { bits: 32, scaleBytes: 0, headDimMultiple: 4, isTransformed: false },
  int8: { bits: 8, scaleBytes: 4, headDimMultiple: 8, isTransformed: false },
  fp8: { bits: 8, scaleBytes: 4, headDimMultiple: 8, isTransformed: false },
  int4: { bits: 4, scaleBytes: 4, headDimMultiple: 8, isTransformed: true },
};

/** Dtypes whose elements are codes; an element is its code's value times its vector's scale. */
export type QuantizedKvCacheDtype = Exclude<KvCacheDtype, "f16" | "f32">;

/** Whether elements are codes that a scale per token and head gives their size. */
export function isQuantizedKv(dtype: KvCacheDtype): dtype is QuantizedKvCacheDtype {
  return KV_STORAGE[dtype].scaleBytes > 0;
}

/** The format that a configuration asks for. */
export function kvFormat(
  config: Pick<EngineConfig, "kvCacheDtype" | "kvCacheF16EdgeLayers">,
): KvFormat {
  return { dtype: config.kvCacheDtype, f16EdgeLayers: config.kvCacheF16EdgeLayers };
}

/**
 * The dtype of one layer. The layers next to the embedding and to the output suffer most from
 * coarse K and V, so int4 keeps these two in f16 unless told otherwise.
 */
export function layerDtype(
  { dtype, f16EdgeLayers = dtype === "int4" }: KvFormat,
  isEdge: boolean,
): KvCacheDtype {
  return isEdge && f16EdgeLayers && isQuantizedKv(dtype) ? "f16" : dtype;
}

/** The dtype of each layer, first to last. */
export function layerDtypes({ numLayers, ...format }: KvFormat & { numLayers: number }) {
  return Array.from(
    { length: numLayers },
    (_, layer) => layerDtype(format, layer === 0 || layer === numLayers - 1),
  );
}

/** Bytes of one head's K, or V, at one position, without its scale. */
export function vectorBytes(headDim: number, dtype: KvCacheDtype): number {
  return ceilDiv(headDim * KV_STORAGE[dtype].bits, 8);
}

/**
 * Bytes that one token position takes in one layer of `dtype`: its K and its V, all heads, scales.
 */
export function layerBytesPerToken(
  { numKvHeads, headDim, dtype }: KvHeads & Pick<KvFormat, "dtype">,
): number {
  return 2 * numKvHeads * (vectorBytes(headDim, dtype) + KV_STORAGE[dtype].scaleBytes);
}

/** Blocks that hold `numTokens` positions, the last one perhaps in part. */
export function numBlocksForTokens(numTokens: number, blockSize: number): number {
  return ceilDiv(numTokens, blockSize);
}

/**
 * Names everything that gives a block's bytes their meaning, so that blocks of another layout are
 * never taken for its own.
 */
export function kvLayoutName(format: KvFormat): string {
  const edge = layerDtype(format, true);
  const dtypes = edge === format.dtype ? edge : `${format.dtype}, first and last layer ${edge}`;
  return `${dtypes} [block][K|V][kv_head][offset][head_dim]` +
    (isQuantizedKv(format.dtype) ? " [K|V][kv_head][offset] f32 scales" : "") +
    (KV_STORAGE[format.dtype].isTransformed ? " of Walsh-Hadamard transforms, cubic levels" : "");
}

import type { WeightDtype } from "../../src/core/weight_format.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";

/**
 * Outputs `[begin, end)` of a weight matrix, in a buffer of their own.
 *
 * An output is a row of the matrix, or with SwiGLU a gate and its up: the buffer then holds gates
 * `[begin, end)` over the ups of the same numbers, and is itself a matrix such as the whole would
 * be.
 */
export interface WeightShard {
  readonly buffer: DeviceBuffer;
  readonly begin: number;
  readonly end: number;
  /** Its type where that is not the matrix's, whose tensors a file may have in several. */
  readonly dtype?: WeightDtype;
}

/**
 * A matrix on a device: one buffer, or shards in order and without gaps where it cannot be bound
 * whole.
 */
export type WeightBuffers = DeviceBuffer | readonly WeightShard[];

/** Where a product's outputs go in the rows of y: from `first` on in rows of `stride`. */
export interface OutputPlace {
  readonly first: number;
  readonly stride: number;
}

/** The shards of a matrix with `numOutputs` outputs, one where it is whole. */
export function shardsOf(w: WeightBuffers, numOutputs: number): readonly WeightShard[] {
  return "label" in w ? [{ buffer: w, begin: 0, end: numOutputs }] : w;
}

/** One shard's share of a product. */
export interface ShardProduct<P> {
  readonly product: P & { readonly place: OutputPlace };
  readonly w: DeviceBuffer;
}

/**
 * A product with `n` outputs as products with the shards of its matrix. Each output is summed by
 * one of them, in the order of the whole product: the bits are the same.
 */
export function shardProducts<P extends { readonly n: number; readonly dtype: WeightDtype }>(
  product: P,
  w: WeightBuffers,
): ShardProduct<P>[] {
  return shardsOf(w, product.n).map(({ buffer, begin, end, dtype = product.dtype }) => ({
    product: { ...product, dtype, n: end - begin, place: { first: begin, stride: product.n } },
    w: buffer,
  }));
}

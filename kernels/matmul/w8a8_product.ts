import { isBlocks, isQuantized } from "../../src/core/weight_format.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import type { Product, ProductBuffers } from "./matmul.ts";
import type { NormProductBuffers } from "./norm_matmul.ts";
import { normQuantizeCall } from "./norm_quantize.ts";
import { w8a8GemmCalls } from "./w8a8_gemm.ts";
import { w8a8MatmulCalls, type W8a8ProductBuffers } from "./w8a8_matmul.ts";
import { w8a8TilesOf } from "../tuning/product_tiles.ts";
import { quantizeRowsCall, SPAN_INPUTS } from "./quantize_rows.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";

/**
 * Whether a product quantizes its activations to int8 and multiplies integers: where the tuning
 * says so, the weights are int8 or int4, and a row of them is whole spans. It never depends on the
 * number of rows, which would make a sequence's numbers depend on its batch.
 */
export function isW8a8(
  { dtype, k }: Pick<Product, "dtype" | "k">,
  { usesW8a8 }: Pick<Tuning, "usesW8a8">,
): boolean {
  return usesW8a8 && k % SPAN_INPUTS === 0 && isQuantized(dtype) && !isBlocks(dtype);
}

/** Room for the quantized rows of one product: `codes` i8 [R, K] and `scales` f32 [R, K / 32]. */
export type QuantizedRows = Readonly<Record<"codes" | "scales", DeviceBuffer>>;

/** Bytes of {@link QuantizedRows} for so many rows of `k` inputs. */
export function quantizedRowsBytes(rows: number, k: number): { codes: number; scales: number } {
  return { codes: rows * k, scales: 4 * rows * Math.ceil(k / SPAN_INPUTS) };
}

/**
 * A product that {@link isW8a8}, of a step's tokens: one call, and one for each shard of the
 * matrix, runs in a step.
 */
export function w8a8ProductCalls(
  product: Product,
  { x, ...buffers }: QuantizedRows & ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { label, k } = product;
  const { step, codes, scales } = buffers;
  const lanes = tuning.w8a8.quantizeLanes;
  return [
    quantizeRowsCall({ label, k, lanes }, { step, x, codes, scales }),
    ...w8a8CodesCalls(product, buffers, tuning),
  ];
}

/** {@link w8a8ProductCalls} of normalized rows: the norm quantizes them. */
export function w8a8NormProductCalls(
  { eps, ...product }: Product & { eps: number },
  { x, norm, ...buffers }: QuantizedRows & Omit<NormProductBuffers, "normed">,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { label, rows, k } = product;
  const { step, codes, scales } = buffers;
  return [
    normQuantizeCall(
      { label, rows, k, eps, lanes: tuning.normLanes },
      { step, x, norm, codes, scales },
    ),
    ...w8a8CodesCalls(product, buffers, tuning),
  ];
}

/**
 * The calls of both kernels, of rows that are codes; exactly one for each shard of the matrix runs
 * in a step.
 */
export function w8a8CodesCalls(
  product: Product,
  buffers: W8a8ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const own = {
    ...tuning,
    w8a8: { ...tuning.w8a8, ...w8a8TilesOf(tuning, product.label) },
  };
  return [
    ...w8a8MatmulCalls(product, buffers, own),
    ...w8a8GemmCalls(product, buffers, own),
  ];
}

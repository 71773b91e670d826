import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import { gemmCalls } from "./gemm.ts";
import { matmulCalls, type Product } from "./matmul.ts";
import { normMatmulCalls } from "./norm_matmul.ts";
import { tilesOf } from "./product_tiles.ts";
import type { StepDims } from "./step.ts";
import type { Tuning } from "./tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for it
 * `gemm` for many. Exactly one of the calls runs in a step. All calls bear the product's label.
 */
export function productCalls(
  product: Product,
  buffers: Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...matmulCalls(product, buffers, own),
    ...gemmCalls(product, buffers, own),
  ];
}

/** {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not fused. */
export function normProductCalls(
  product: Product & { eps: number },
  buffers: Readonly<Record<"step" | "x" | "norm" | "normed" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { step, normed, w, y } = buffers;
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...normMatmulCalls(product, buffers, own),
    ...gemmCalls(product, { step, x: normed, w, y }, own),
  ];
}

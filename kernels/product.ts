import type { KernelCall } from "../src/device/kernel.ts";
import { gemmCalls } from "./gemm.ts";
import { matmulCalls, type Product, type ProductBuffers } from "./matmul.ts";
import { normMatmulCalls, type NormProductBuffers } from "./norm_matmul.ts";
import type { StepDims } from "./step.ts";
import type { Tuning } from "./tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for it
 * `gemm` for many. Exactly one call for each part of the matrix runs in a step.
 */
export function productCalls(
  product: Product,
  buffers: ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return [
    ...matmulCalls(product, buffers, forFewRows(tuning)),
    ...gemmCalls(product, buffers, tuning),
  ];
}

/** {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not fused. */
export function normProductCalls(
  product: Product & { eps: number },
  buffers: NormProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { step, normed, w, y } = buffers;
  return [
    ...normMatmulCalls(product, buffers, forFewRows(tuning)),
    ...gemmCalls(product, { step, x: normed, w, y }, tuning),
  ];
}

/** The tuning with `matmul`'s tiles cut off where `gemm` takes over. */
function forFewRows(tuning: Tuning): Tuning {
  const most = Math.min(...tuning.gemmTiles.map(({ minRows }) => minRows)) - 1;
  const matmulTiles = tuning.matmulTiles
    .filter(({ minRows }) => minRows <= most)
    .map((tile) => ({ ...tile, maxRows: Math.min(tile.maxRows, most) }));
  return { ...tuning, matmulTiles };
}

import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import { gemmCalls } from "./gemm.ts";
import { matmulCalls, type Product } from "./matmul.ts";
import { normMatmulCalls } from "./norm_matmul.ts";
import {
  isPacked,
  packedNormProductCalls,
  packedProductCalls,
  type QuantizedRows,
} from "./packed_product.ts";
import type { StepDims } from "./step.ts";
import type { Tuning } from "./tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for it
 * `gemm` for many. Exactly one of the calls runs in a step. Where the product {@link isPacked}, its rows
 * become `codes` and `scales` first, which products one after the other may share.
 */
export function productCalls(
  product: Product,
  buffers: QuantizedRows & Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isPacked(product, tuning)) return packedProductCalls(product, buffers, tuning);
  return [
    ...matmulCalls(product, buffers, forFewRows(tuning)),
    ...gemmCalls(product, buffers, tuning),
  ];
}

/** {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not fused. */
export function normProductCalls(
  product: Product & { eps: number },
  buffers:
    & QuantizedRows
    & Readonly<Record<"step" | "x" | "norm" | "normed" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isPacked(product, tuning)) return packedNormProductCalls(product, buffers, tuning);
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

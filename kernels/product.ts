import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import { gemmCalls } from "./gemm.ts";
import { matmulCalls, type Product } from "./matmul.ts";
import type { StepDims } from "./step.ts";
import type { Tuning } from "./tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for it
 * `gemm` for many. Exactly one of the calls runs in a step.
 */
export function productCalls(
  product: Product,
  buffers: Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const most = Math.min(...tuning.gemmTiles.map(({ minRows }) => minRows)) - 1;
  const matmulTiles = tuning.matmulTiles
    .filter(({ minRows }) => minRows <= most)
    .map((tile) => ({ ...tile, maxRows: Math.min(tile.maxRows, most) }));
  return [
    ...matmulCalls(product, buffers, { ...tuning, matmulTiles }),
    ...gemmCalls(product, buffers, tuning),
  ];
}

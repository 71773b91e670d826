import type { KernelCall } from "../../src/device/kernel.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";
import { expertGemmCalls } from "./expert_gemm.ts";
import { type ExpertBuffers, expertMatmulCalls, type ExpertProduct } from "./expert_matmul.ts";

/**
 * One product by experts for any number of pairs: the calls of both kernels, of which one for each
 * shard of the matrices runs in a step. `y`, f32 [P, N], has a row for each pair.
 */
export function expertProductCalls(
  product: ExpertProduct,
  buffers: ExpertBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return [
    ...expertMatmulCalls(product, buffers, tuning),
    ...expertGemmCalls(product, buffers, tuning),
  ];
}

import { type Kernel, type KernelCall, kernelCall } from "../../src/device/kernel.ts";
import epilogue from "../matmul/_epilogue.wgsl" with { type: "text" };
import { type GemmShape, gemmShape, gemmTileWgsl } from "../matmul/gemm.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import type { GemmTile, Tuning } from "../tuning/tuning.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import expertRows from "./_expert_rows.wgsl" with { type: "text" };
import source from "./expert_gemm.wgsl" with { type: "text" };
import {
  EXPERT_ARGS,
  expertArgsWgsl,
  type ExpertBuffers,
  type ExpertConstants,
  expertConstants,
  expertGrid,
  expertMatmul,
  type ExpertProduct,
  type ExpertShard,
  expertShards,
  multiplyPairs,
} from "./expert_matmul.ts";
import { expertTiles } from "./pack_experts.ts";

/** {@link expertMatmul} for experts with many rows: the same definition, in shared memory. */
export const expertGemm: Kernel<GemmShape & ExpertConstants> = {
  name: "expert_gemm",
  args: EXPERT_ARGS,
  source: stepWgsl + expertArgsWgsl + elements + epilogue + expertRows + gemmTileWgsl + source,
  bindings: expertMatmul.bindings,
  reference: multiplyPairs,
};

/** One product by experts, as one call per shard and tile of `gemm`; none in tunings without. */
export function expertGemmCalls(
  product: ExpertProduct,
  buffers: ExpertBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return expertShards(product, buffers)
    .flatMap((shard) =>
      expertTiles(tuning).gemmTiles.map((tile) => call(product, shard, tile, tuning))
    );
}

function call(
  product: ExpertProduct,
  { experts, ...buffers }: ExpertShard,
  tile: GemmTile,
  tuning: Tuning,
): KernelCall<StepDims> {
  const { label, routing, n } = product;
  const shape = gemmShape({ ...product, rows: "tokens" }, tile, tuning, experts.bias);
  return kernelCall(expertGemm, {
    label,
    constants: { ...shape, ...expertConstants(product, experts, shape.LOAD) },
    buffers,
    workgroups: (dims) => expertGrid(tile, routing, Math.ceil(n / shape.OUTPUTS), dims),
  });
}

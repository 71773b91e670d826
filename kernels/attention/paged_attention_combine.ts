import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import reads from "../kv/_reads.wgsl" with { type: "text" };
import splits from "./_splits.wgsl" with { type: "text" };
import combineSplits from "./_combine_splits.wgsl" with { type: "text" };
import {
  type AttentionShape,
  COMBINE_BINDINGS,
  combineAllSplits,
  type CombineShape,
  combineShape,
} from "./paged_attention_definition.ts";
import source from "./paged_attention_combine.wgsl" with { type: "text" };
import { groupStepWgsl, type StepDims } from "../step.ts";

/** Combines the splits of each decode's heads, in their order, into its attention output. */
export const pagedAttentionCombine: Kernel<CombineShape> = {
  name: "paged_attention_combine",
  source: groupStepWgsl + reads + splits + combineSplits + source,
  bindings: COMBINE_BINDINGS,
  reference: combineAllSplits,
};

/** {@link pagedAttentionCombine} for one layer, on any device. */
export function pagedAttentionCombineCall(
  shape: AttentionShape,
  buffers: Readonly<Record<"step" | "partials" | "stats" | "out" | "sinks", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(pagedAttentionCombine, {
    constants: combineShape(shape),
    buffers,
    workgroups: (
      { numDecodes }: StepDims,
    ) => [Math.ceil(shape.H * shape.D / 4 / 64), numDecodes, 1],
  });
}

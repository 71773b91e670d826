import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import combineSplits from "./_combine_splits.wgsl" with { type: "text" };
import {
  type AttentionShape,
  COMBINE_BINDINGS,
  combineAllSplits,
} from "./paged_attention_definition.ts";
import source from "./paged_attention_combine.wgsl" with { type: "text" };
import { type StepDims, stepWgsl } from "../step.ts";

/** Joins the splits of each decode's heads, in their order, into its attention output. */
export const pagedAttentionCombine: Kernel<
  Readonly<{ H: number; D: number; SPLIT_LEN: number }>
> = {
  name: "paged_attention_combine",
  source: stepWgsl + combineSplits + source,
  bindings: COMBINE_BINDINGS,
  reference: combineAllSplits,
};

/** {@link pagedAttentionCombine} for one layer, on any device. */
export function pagedAttentionCombineCall(
  { H, D }: Pick<AttentionShape, "H" | "D">,
  buffers: Readonly<Record<"step" | "partials" | "stats" | "out", DeviceBuffer>>,
  splitLen: number,
): KernelCall<StepDims> {
  return kernelCall(pagedAttentionCombine, {
    constants: { H, D, SPLIT_LEN: splitLen },
    buffers,
    workgroups: ({ numDecodes }: StepDims) => [Math.ceil(H * D / 4 / 64), numDecodes, 1],
  });
}

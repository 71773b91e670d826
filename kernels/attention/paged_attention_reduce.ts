import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import joinSplits from "./_join_splits.wgsl" with { type: "text" };
import {
  type AttentionShape,
  REDUCE_BINDINGS,
  reduceSplits,
} from "./paged_attention_definition.ts";
import source from "./paged_attention_reduce.wgsl" with { type: "text" };
import { type StepDims, stepWgsl } from "../step.ts";

/** Joins the splits of each decode's heads, in their order, into its attention output. */
export const pagedAttentionReduce: Kernel<
  Readonly<{ H: number; D: number; SPLIT_LEN: number }>
> = {
  name: "paged_attention_reduce",
  source: stepWgsl + joinSplits + source,
  bindings: REDUCE_BINDINGS,
  reference: reduceSplits,
};

/** {@link pagedAttentionReduce} for one layer, on any device. */
export function pagedAttentionReduceCall(
  { H, D }: Pick<AttentionShape, "H" | "D">,
  buffers: Readonly<Record<"step" | "parts" | "peaks" | "out", DeviceBuffer>>,
  splitLen: number,
): KernelCall<StepDims> {
  return kernelCall(pagedAttentionReduce, {
    constants: { H, D, SPLIT_LEN: splitLen },
    buffers,
    workgroups: ({ numDecodes }: StepDims) => [Math.ceil(H * D / 4 / 64), numDecodes, 1],
  });
}

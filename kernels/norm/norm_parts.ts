import { omitUndefined } from "../../src/base/omit_undefined.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./norm_parts.wgsl" with { type: "text" };
import { normalizeRow } from "./rms_norm.ts";
import rowInverseRms from "./_row_inverse_rms.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<
  { FIRST: number; SECOND: number; STRIDE: number; EPS: number; LANES: number }
>;

/** Normalizes parts of rows, f32 [T, STRIDE], in place, each over all of its elements. */
export const normParts: Kernel<Shape> = {
  name: "norm_parts",
  source: stepWgsl + rowInverseRms + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "weight", access: "read" },
    { name: "rows", access: "read_write" },
  ],
  reference({ step, weight, rows }, { FIRST, SECOND, STRIDE, EPS }) {
    for (let t = 0; t < step!.u32[STEP.numTokens]!; t++) {
      for (const [first, length] of [[0, FIRST], [FIRST, SECOND]] as const) {
        const at = t * STRIDE + first;
        const part = rows!.f32.subarray(at, at + length);
        normalizeRow(part, weight!.f32.subarray(first, first + length), EPS, part);
      }
    }
  },
};

/**
 * Normalizes the first `lengths[0]` elements of every row of the step, and the `lengths[1]` after
 * them where there are two. `rows` is f32 [T, stride], `weight` f32 of all parts' elements. Lengths
 * and stride are multiples of 4.
 */
export function normPartsCall(
  { label, lengths: [first, second = 0], stride, eps, lanes }: {
    label?: string;
    lengths: readonly [first: number, second?: number];
    stride: number;
    eps: number;
    lanes: number;
  },
  buffers: Readonly<Record<"step" | "weight" | "rows", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(normParts, {
    ...omitUndefined({ label }),
    constants: { FIRST: first, SECOND: second, STRIDE: stride, EPS: eps, LANES: lanes },
    buffers,
    workgroups: ({ numTokens }) => [numTokens, second === 0 ? 1 : 2, 1],
  });
}

import { omitUndefined } from "../../src/base/omit_undefined.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./norm_add.wgsl" with { type: "text" };
import { normalizeRow } from "./rms_norm.ts";
import rowInverseRms from "./_row_inverse_rms.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ E: number; EPS: number; SCALE: number; LANES: number }>;

/** Adds normalized rows of x, f32 [T, E], to those of y: the norm after a sublayer. */
export const normAdd: Kernel<Shape> = {
  name: "norm_add",
  source: stepWgsl + rowInverseRms + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "weight", access: "read" },
    { name: "y", access: "read_write" },
  ],
  reference({ step, x, weight, y }, { E, EPS, SCALE }) {
    const normed = new Float32Array(E);
    for (let t = 0; t < step!.u32[STEP.numTokens]!; t++) {
      normalizeRow(x!.f32.subarray(t * E, (t + 1) * E), weight!.f32, EPS, normed);
      for (let e = 0; e < E; e++) y!.f32[t * E + e]! += SCALE * normed[e]!;
    }
  },
};

/**
 * Adds every row of the step, `x` f32 [T, E] normalized and times `scale`, to `y` f32 [T, E]. E is
 * a multiple of 4.
 *
 * @param scale 1 unless given.
 */
export function normAddCall(
  { label, E, eps, scale = 1, lanes }: {
    label?: string;
    E: number;
    eps: number;
    scale?: number;
    lanes: number;
  },
  buffers: Readonly<Record<"step" | "x" | "weight" | "y", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(normAdd, {
    ...omitUndefined({ label }),
    constants: { E, EPS: eps, SCALE: Math.fround(scale), LANES: lanes },
    buffers,
    workgroups: ({ numTokens }) => [numTokens, 1, 1],
  });
}

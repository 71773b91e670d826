import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";
import source from "./combine_experts.wgsl" with { type: "text" };

type Shape = Readonly<{ E: number; TOP_K: number; SCALE: number; LANES: number }>;

/** Adds each token's sum over its experts to the residual. */
export const combineExperts: Kernel<Shape> = {
  name: "combine_experts",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "weights", access: "read" },
    { name: "y", access: "read_write" },
  ],
  reference({ step, x, weights, y }, { E, TOP_K, SCALE }) {
    for (let t = 0; t < step!.u32[STEP.numTokens]!; t++) {
      for (let e = 0; e < E; e++) {
        let sum = 0;
        for (let j = 0; j < TOP_K; j++) {
          const pair = t * TOP_K + j;
          sum += weights!.f32[pair]! * x!.f32[pair * E + e]!;
        }
        y!.f32[t * E + e]! += SCALE * sum;
      }
    }
  },
};

/**
 * Adds to `y`, f32 [T, E], the rows of `x`, f32 [T * k, E], by `weights`, f32 [T, k], and `scale`,
 * which is 1 unless given. E is a multiple of 4.
 */
export function combineExpertsCall(
  { label, E, topK, scale = 1, lanes }: {
    label: string;
    E: number;
    topK: number;
    scale?: number;
    lanes: number;
  },
  buffers: Readonly<Record<"step" | "x" | "weights" | "y", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(combineExperts, {
    label,
    constants: { E, TOP_K: topK, SCALE: Math.fround(scale), LANES: lanes },
    buffers,
    workgroups: ({ numTokens }) => [Math.ceil(E / (4 * lanes)), numTokens, 1],
  });
}

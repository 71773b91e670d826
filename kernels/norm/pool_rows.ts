import { ceilDiv } from "../../src/base/math.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { POOLING, POOLING_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";
import source from "./pool_rows.wgsl" with { type: "text" };

type Shape = Readonly<{ E: number; LANES: number }>;

/** Adds runs of rows of x, f32 [T, E], to rows of out, f32 [B, E]. */
export const poolRows: Kernel<Shape> = {
  name: "pool_rows",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, x, out }, { E }) {
    const words = step!.u32;
    for (let p = 0; p < words[STEP.numPoolings]!; p++) {
      const at = words[STEP.poolings]! + p * POOLING_WORDS;
      const first = words[at + POOLING.firstRow]!;
      const sum = out!.f32.subarray(p * E, (p + 1) * E);
      for (let row = first; row < first + words[at + POOLING.numRows]!; row++) {
        for (let e = 0; e < E; e++) sum[e]! += x!.f32[row * E + e]!;
      }
    }
  },
};

/** A step's dimensions where runs of its rows are summed up. */
export interface PoolDims extends StepDims {
  readonly numPoolings: number;
}

/** Adds the runs of a step, rows of `x` f32 [T, e], to `out` f32 [B, e]. */
export function poolRowsCall(
  { e: E, lanes: LANES }: { readonly e: number; readonly lanes: number },
  buffers: Readonly<Record<"step" | "x" | "out", DeviceBuffer>>,
): KernelCall<PoolDims> {
  return kernelCall(poolRows, {
    constants: { E, LANES },
    buffers,
    workgroups: ({ numPoolings }: PoolDims) => [ceilDiv(E, LANES), numPoolings, 1],
  });
}

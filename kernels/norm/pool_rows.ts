import { ceilDiv } from "../../src/base/math.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { POOL, POOL_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";
import source from "./pool_rows.wgsl" with { type: "text" };

type Shape = Readonly<{ E: number; LANES: number }>;

/** Adds runs of rows of x, f32 [T, E], to rows of out, f32 [P, E]. */
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
    for (let p = 0; p < words[STEP.numPools]!; p++) {
      const at = words[STEP.pools]! + p * POOL_WORDS;
      const first = words[at + POOL.firstRow]!;
      const sum = out!.f32.subarray(p * E, (p + 1) * E);
      for (let row = first; row < first + words[at + POOL.numRows]!; row++) {
        for (let e = 0; e < E; e++) sum[e]! += x!.f32[row * E + e]!;
      }
    }
  },
};

/** A step's dimensions where runs of its rows are summed up. */
export interface PoolDims extends StepDims {
  readonly numPools: number;
}

/** Adds the runs of a step, rows of `x` f32 [T, e], to `out` f32 [P, e]. */
export function poolRowsCall(
  { e: E, lanes: LANES }: { readonly e: number; readonly lanes: number },
  buffers: Readonly<Record<"step" | "x" | "out", DeviceBuffer>>,
): KernelCall<PoolDims> {
  return kernelCall(poolRows, {
    constants: { E, LANES },
    buffers,
    workgroups: ({ numPools }: PoolDims) => [ceilDiv(E, LANES), numPools, 1],
  });
}

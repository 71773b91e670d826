import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./rms_norm.wgsl" with { type: "text" };
import { numRows, type Rows } from "../rows.ts";
import { SAMPLE, SAMPLE_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ E: number; EPS: number; GATHER: boolean; LANES: number }>;

/** Normalizes rows; with `GATHER`, only those that are drawn from, gathered. */
export const rmsNorm: Kernel<Shape> = {
  name: "rms_norm",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "weight", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, x, weight, out }, { E, EPS, GATHER }) {
    const words = step!.u32;
    const rows = words[GATHER ? STEP.numSamples : STEP.numTokens]!;
    for (let r = 0; r < rows; r++) {
      const row = GATHER ? words[words[STEP.samples]! + r * SAMPLE_WORDS + SAMPLE.row]! : r;
      const from = x!.f32.subarray(row * E, (row + 1) * E);
      normalizeRow(from, weight!.f32, EPS, out!.f32.subarray(r * E, (r + 1) * E));
    }
  },
};

/** The definition of {@link rmsNorm}, of one row. */
export function normalizeRow(
  from: Float32Array,
  weight: Float32Array,
  eps: number,
  to: Float32Array,
): void {
  const scale = 1 / Math.sqrt(from.reduce((sum, v) => sum + v * v, 0) / from.length + eps);
  for (let e = 0; e < from.length; e++) to[e] = from[e]! * scale * weight[e]!;
}

/**
 * Normalizes every row of the step, or with `rows: "samples"` the rows that are drawn from; nothing in
 * steps whose number of rows `skip` holds for.
 */
export function rmsNormCall(
  { label, rows, skip = () => false, ...shape }: Omit<Shape, "GATHER"> & {
    label?: string;
    rows: Rows;
    skip?: (numRows: number) => boolean;
  },
  buffers: Readonly<Record<"step" | "x" | "weight" | "out", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(rmsNorm, {
    ...(label === undefined ? {} : { label }),
    constants: { ...shape, GATHER: rows === "samples" },
    buffers,
    workgroups: (dims) => {
      const count = numRows(rows, dims);
      return [skip(count) ? 0 : count, 1, 1];
    },
  });
}

import { omitUndefined } from "../../src/base/omit_undefined.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import rowInverseRms from "./_row_inverse_rms.wgsl" with { type: "text" };
import source from "./rms_norm.wgsl" with { type: "text" };
import { numRows, type Rows } from "../rows.ts";
import { DRAW, DRAW_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ E: number; EPS: number; GATHER: boolean; LANES: number }>;

/** Normalizes rows; with `GATHER`, only those that are drawn from, gathered. */
export const rmsNorm: Kernel<Shape> = {
  name: "rms_norm",
  source: stepWgsl + rowInverseRms + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "weight", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, x, weight, out }, { E, EPS, GATHER }) {
    const rows = step!.u32[GATHER ? STEP.numDraws : STEP.numTokens]!;
    const shape = { rows, k: E, eps: EPS, isGathered: GATHER };
    out!.f32.set(normalizedRows(step!.u32, x!.f32, weight!.f32, shape));
  },
};

/**
 * The definition of {@link rmsNorm}: `rows` rows of `k` elements of x, f32 [T, k], normalized; with
 * `isGathered`, those that the step of `words` draws from.
 */
export function normalizedRows(
  words: Uint32Array,
  x: Float32Array,
  weight: Float32Array,
  { rows, k, eps, isGathered }: { rows: number; k: number; eps: number; isGathered: boolean },
): Float32Array {
  const normed = new Float32Array(rows * k);
  for (let r = 0; r < rows; r++) {
    const row = isGathered ? words[words[STEP.draws]! + r * DRAW_WORDS + DRAW.row]! : r;
    const from = x.subarray(row * k, (row + 1) * k);
    normalizeRow(from, weight, eps, normed.subarray(r * k, (r + 1) * k));
  }
  return normed;
}

/** The same of one row (Zhang 2019, 1910.07467); `to` may be `from`. */
export function normalizeRow(
  from: Float32Array,
  weight: Float32Array,
  eps: number,
  to: Float32Array,
): void {
  let sum = 0;
  for (let e = 0; e < from.length; e++) sum += from[e]! * from[e]!;
  const scale = 1 / Math.sqrt(sum / from.length + eps);
  for (let e = 0; e < from.length; e++) to[e] = from[e]! * scale * weight[e]!;
}

/**
 * Normalizes every row of the step, or with `rows: "draws"` the rows that are drawn from; nothing
 * in steps whose number of rows `skip` holds for.
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
    ...omitUndefined({ label }),
    constants: { ...shape, GATHER: rows === "draws" },
    buffers,
    workgroups: (dims) => {
      const count = numRows(rows, dims);
      return [skip(count) ? 0 : count, 1, 1];
    },
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./cast_rows_f16.wgsl" with { type: "text" };
import { numRows, type Rows, ROWS_WORD } from "../rows.ts";
import { type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ K: number; ROWS_WORD: number; LANES: number }>;

/** Rows as f16, and for each the power of two that they were divided by. */
export const castRowsF16: Kernel<Shape> = {
  name: "cast_rows_f16",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "halves", access: "read_write" },
    { name: "scales", access: "read_write" },
  ],
  reference({ step, x, halves, scales }, { K, ROWS_WORD }) {
    const rows = step!.u32[ROWS_WORD]!;
    const out = new Float16Array(halves!.u8.buffer);
    for (let r = 0; r < rows; r++) {
      const row = x!.f32.subarray(r * K, (r + 1) * K);
      const scale = rowScale(row);
      scales!.f32[r] = scale;
      out.set(row.map((value) => value / scale), r * K);
    }
  },
};

/**
 * The power of two by which {@link castRowsF16} divides a row: its largest magnitude then is 2^14
 * to 2^15.
 */
export function rowScale(row: Float32Array): number {
  const absmax = Float32Array.of(row.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
  const exponent = new Uint32Array(absmax.buffer)[0]! >>> 23;
  return 2 ** (Math.min(Math.max(exponent, 15), 254) - 141);
}

/** Casts the rows `x`, f32 [R, K], in steps whose number of rows `includes` accepts. */
export function castRowsF16Call(
  { label, rows, k, lanes, includes }: {
    label: string;
    rows: Rows;
    k: number;
    lanes: number;
    includes: (numRows: number) => boolean;
  },
  buffers: Readonly<Record<"step" | "x" | "halves" | "scales", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(castRowsF16, {
    label,
    constants: { K: k, ROWS_WORD: ROWS_WORD[rows], LANES: lanes },
    buffers,
    workgroups: (dims) => {
      const count = numRows(rows, dims);
      return [includes(count) ? count : 0, 1, 1];
    },
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./norm_quantize.wgsl" with { type: "text" };
import { quantizeSpans } from "./quantize_rows.ts";
import span from "./_quantize_span.wgsl" with { type: "text" };
import { normalizedRows } from "../norm/rms_norm.ts";
import rowInverseRms from "../norm/_row_inverse_rms.wgsl" with { type: "text" };
import { numRows, type Rows } from "../rows.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ K: number; EPS: number; GATHER: boolean; LANES: number }>;

/**
 * Normalized rows as `quantizeRows` gives them; with `GATHER`, those that are drawn from, gathered.
 */
export const normQuantize: Kernel<Shape> = {
  name: "norm_quantize",
  source: stepWgsl + span + rowInverseRms + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "norm", access: "read" },
    { name: "codes", access: "read_write" },
    { name: "scales", access: "read_write" },
  ],
  reference({ step, x, norm, codes, scales }, { K, EPS, GATHER }) {
    const rows = step!.u32[GATHER ? STEP.numDraws : STEP.numTokens]!;
    const norms = { rows, k: K, eps: EPS, isGathered: GATHER };
    const normed = normalizedRows(step!.u32, x!.f32, norm!.f32, norms);
    quantizeSpans(normed, new Int8Array(codes!.u8.buffer), scales!.f32);
  },
};

/**
 * Normalizes and quantizes every row of the step, or with `rows: "draws"` those that are drawn
 * from.
 */
export function normQuantizeCall(
  { label, rows, k, eps, lanes }: {
    label: string;
    rows: Rows;
    k: number;
    eps: number;
    lanes: number;
  },
  buffers: Readonly<Record<"step" | "x" | "norm" | "codes" | "scales", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(normQuantize, {
    label,
    constants: { K: k, EPS: eps, GATHER: rows === "draws", LANES: lanes },
    buffers,
    workgroups: (dims) => [numRows(rows, dims), 1, 1],
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./quantize_rows.wgsl" with { type: "text" };
import span from "./_quantize_span.wgsl" with { type: "text" };
import { roundToEven } from "../rounding.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ K: number; LANES: number }>;

/** Inputs of a row of activations that share one scale; a group of weights is a multiple of it. */
export const SPAN_INPUTS = 32;

/** Below it, the largest magnitude of a span counts as 0. */
const SMALLEST = 1e-30;

/** Rows as int8 codes, and a scale for each {@link SPAN_INPUTS} of them. */
export const quantizeRows: Kernel<Shape> = {
  name: "quantize_rows",
  source: stepWgsl + span + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "codes", access: "read_write" },
    { name: "scales", access: "read_write" },
  ],
  reference({ step, x, codes, scales }, { K }) {
    const length = step!.u32[STEP.numTokens]! * K;
    quantizeSpans(x!.f32.subarray(0, length), new Int8Array(codes!.u8.buffer), scales!.f32);
  },
};

/**
 * The definition of {@link quantizeRows}: codes to `codes` and scales to `scales`, each from their
 * begin. `values.length` is a multiple of {@link SPAN_INPUTS}. Every operation is rounded to f32,
 * as a device rounds it.
 */
export function quantizeSpans(values: Float32Array, codes: Int8Array, scales: Float32Array): void {
  const { fround } = Math;
  const share = fround(1 / 127);
  for (let begin = 0; begin < values.length; begin += SPAN_INPUTS) {
    const span = values.subarray(begin, begin + SPAN_INPUTS);
    const absmax = span.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const inverse = absmax < SMALLEST ? 0 : fround(127 / absmax);
    scales[begin / SPAN_INPUTS] = absmax < SMALLEST ? 0 : absmax * share;
    span.forEach((value, i) => codes[begin + i] = roundToEven(fround(value * inverse)));
  }
}

/**
 * Quantizes the rows `x` of a step's tokens, f32 [T, K], for {@link w8a8Matmul} and `w8a8_gemm`.
 */
export function quantizeRowsCall(
  { label, k, lanes }: { label: string; k: number; lanes: number },
  buffers: Readonly<Record<"step" | "x" | "codes" | "scales", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(quantizeRows, {
    label,
    constants: { K: k, LANES: lanes },
    buffers,
    workgroups: ({ numTokens }) => [Math.ceil(k / SPAN_INPUTS / lanes), numTokens, 1],
  });
}

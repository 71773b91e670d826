import { f32ToBits } from "../../src/base/float_bits.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import segmentSummary from "./_segment_summary.wgsl" with { type: "text" };
import reduce from "./_reduce.wgsl" with { type: "text" };
import { SEGMENT_ARGS, type Segments, segmentsWgsl } from "./segments.ts";
import { DRAW, DRAW_WORDS, SAMPLED, SAMPLED_WORDS, STEP, type StepDims } from "../step.ts";
import source from "./top_logprobs.wgsl" with { type: "text" };

type Shape = Segments & Readonly<{ LANES: number; FUSED: boolean }>;

/**
 * Reports the likeliest tokens of rows of `logits` f32 [R, V] in `sampled` u32 [R, SAMPLED_WORDS],
 * and leaves the logarithm of the sum of exp(logits) where `sample_tokens` will put the chosen
 * token's.
 */
export const topLogprobs: Kernel<Shape & Readonly<{ REPORT: true }>> = {
  name: "top_logprobs",
  args: SEGMENT_ARGS,
  source: segmentsWgsl + reduce + segmentSummary + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "logits", access: "read" },
    { name: "segments", access: "read_write" },
    { name: "sampled", access: "read_write" },
  ],
  reference({ step, logits, sampled }, { V }) {
    const words = step!.u32;
    for (let r = 0; r < words[STEP.numDraws]!; r++) {
      const wanted = words[words[STEP.draws]! + r * DRAW_WORDS + DRAW.numLogprobs]!;
      if (wanted === 0) continue;
      const row = logits!.f32.subarray(r * V, (r + 1) * V);
      const out = sampled!.u32.subarray((words[STEP.firstDraw]! + r) * SAMPLED_WORDS);
      report(row, out, wanted - 1);
    }
  },
};

function report(row: Float32Array, out: Uint32Array, count: number): void {
  const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
  const max = row[order[0]!]!;
  const sum = row.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
  // As it is stored: the chosen token's log-probability, made of it later, is then the same as
  // here.
  const logTotal = Math.fround(max + Math.log(sum));
  out[SAMPLED.logprob] = f32ToBits(logTotal);
  for (const [i, best] of order.slice(0, count).entries()) {
    out[SAMPLED.top + 2 * i] = best;
    out[SAMPLED.top + 2 * i + 1] = f32ToBits(row[best]! - logTotal);
  }
}

/** Reports every draw of the step that asks for log-probabilities. */
export function topLogprobsCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits" | "segments" | "sampled", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(topLogprobs, {
    constants: { ...shape, REPORT: true },
    buffers,
    workgroups: ({ numDraws, numLogprobDraws }) => [numLogprobDraws === 0 ? 0 : numDraws, 1, 1],
  });
}

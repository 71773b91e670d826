import { bitsToF32, f32ToBits } from "../../src/base/float_bits.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import segmentSummary from "./_segment_summary.wgsl" with { type: "text" };
import { gumbel } from "./random_draw.ts";
import source from "./sample_segments.wgsl" with { type: "text" };
import { HIGHEST, isOverflow, LOWEST } from "./logit_range.ts";
import {
  NO_TOKEN,
  SEGMENT_ARGS,
  SEGMENT_PLANE,
  SEGMENT_PLANES,
  type Segments,
  segmentsWgsl,
  tokensOf,
} from "./segments.ts";
import { DRAW, DRAW_WORDS, STEP, type StepDims } from "../step.ts";

type Shape = Segments & Readonly<{ REPORT: boolean }>;

/**
 * Sums up each segment of each row of `logits` f32 [R, V] in `segments` u32 [R, SEGMENT_PLANES, Z].
 */
export const sampleSegments: Kernel<Shape> = {
  name: "sample_segments",
  args: SEGMENT_ARGS,
  source: segmentsWgsl + segmentSummary + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "logits", access: "read" },
    { name: "segments", access: "read_write" },
  ],
  reference({ step, logits, segments }, shape) {
    const { V, Z, REPORT } = shape;
    const words = step!.u32;
    for (let r = 0; r < words[STEP.numDraws]!; r++) {
      const draw = words.subarray(words[STEP.draws]! + r * DRAW_WORDS);
      if (REPORT && draw[DRAW.numLogprobs] === 0) continue;
      const row = logits!.f32.subarray(r * V, (r + 1) * V);
      for (let s = 0; s < Z; s++) {
        const out = r * SEGMENT_PLANES * Z + s;
        const put = (plane: keyof typeof SEGMENT_PLANE, word: number) =>
          segments!.u32[out + SEGMENT_PLANE[plane] * Z] = word;
        sumUp(row, draw, tokensOf(s, shape), REPORT, put);
      }
    }
  },
};

function sumUp(
  row: Float32Array,
  draw: Uint32Array,
  tokens: readonly number[],
  isReport: boolean,
  put: (plane: keyof typeof SEGMENT_PLANE, word: number) => void,
): void {
  const hasOverflow = tokens.some((token) => isOverflow(row[token]!));
  const largest = hasOverflow
    ? { token: NO_TOKEN, value: HIGHEST }
    : best(tokens, (token) => row[token]!);
  put("max", f32ToBits(largest.value));
  put("token", largest.token);
  const weigh = (temperature: number) =>
    tokens.reduce((sum, t) => sum + Math.exp((row[t]! - largest.value) / temperature), 0);
  const temperature = bitsToF32(draw[DRAW.temperature]!);
  if (isReport) return void put("weight", f32ToBits(weigh(1)));
  if (temperature <= 0 || !isWhole(draw, row.length)) return;
  if (largest.token === NO_TOKEN) {
    put("score", f32ToBits(LOWEST));
    return void put("weight", 0);
  }
  const score = (t: number) => (row[t]! - largest.value) / temperature + gumbel(draw, t);
  const highest = best(tokens, score);
  put("token", highest.token);
  put("score", f32ToBits(highest.value));
  if (bitsToF32(draw[DRAW.topP]!) < 1) put("weight", f32ToBits(weigh(temperature)));
}

/** Whether a draw passes over the whole vocabulary: no filter but perhaps the nucleus. */
function isWhole(draw: Uint32Array, vocabSize: number): boolean {
  const topK = draw[DRAW.topK]!;
  return (topK === 0 || topK >= vocabSize) && bitsToF32(draw[DRAW.minP]!) <= 0;
}

function best(tokens: readonly number[], value: (token: number) => number) {
  let best = { token: NO_TOKEN, value: LOWEST };
  for (const token of tokens) {
    if (value(token) > best.value) best = { token, value: value(token) };
  }
  return best;
}

/**
 * Sums up the rows of a step, or with `REPORT` only those whose log-probabilities are asked for.
 */
export function sampleSegmentsCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits" | "segments", DeviceBuffer>>,
): KernelCall<StepDims> {
  const { Z, SEGMENT_LANES, REPORT } = shape;
  return kernelCall(sampleSegments, {
    label: REPORT ? "sample_segments, report" : "sample_segments",
    constants: shape,
    buffers,
    workgroups: ({ numDraws, numLogprobDraws }) => [
      Z / SEGMENT_LANES,
      REPORT && numLogprobDraws === 0 ? 0 : numDraws,
      1,
    ],
  });
}

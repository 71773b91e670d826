import { bitsToF32, f32ToBits } from "../../src/device/half.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import part from "./_part.wgsl" with { type: "text" };
import { gumbel } from "./random_draw.ts";
import source from "./sample_parts.wgsl" with { type: "text" };
import { HIGHEST, isOverflow, LOWEST } from "./logit_range.ts";
import {
  NO_TOKEN,
  PARTS,
  PARTS_PLANES,
  type Segments,
  segmentsWgsl,
  tokensOf,
} from "./segments.ts";
import { SAMPLE, SAMPLE_WORDS, STEP, type StepDims } from "../step.ts";

type Shape = Segments & Readonly<{ REPORT: boolean }>;

/** Sums up each segment of each row of `logits` f32 [R, V] in `parts` u32 [R, PARTS_PLANES, M]. */
export const sampleParts: Kernel<Shape> = {
  name: "sample_parts",
  source: segmentsWgsl + part + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "logits", access: "read" },
    { name: "parts", access: "read_write" },
  ],
  reference({ step, logits, parts }, shape) {
    const { V, M, REPORT } = shape;
    const words = step!.u32;
    for (let r = 0; r < words[STEP.numSamples]!; r++) {
      const sample = words.subarray(words[STEP.samples]! + r * SAMPLE_WORDS);
      if (REPORT && sample[SAMPLE.numLogprobs] === 0) continue;
      const row = logits!.f32.subarray(r * V, (r + 1) * V);
      for (let s = 0; s < M; s++) {
        const out = r * PARTS_PLANES * M + s;
        const put = (plane: keyof typeof PARTS, word: number) =>
          parts!.u32[out + PARTS[plane] * M] = word;
        sumUp(row, sample, tokensOf(s, shape), REPORT, put);
      }
    }
  },
};

function sumUp(
  row: Float32Array,
  sample: Uint32Array,
  tokens: readonly number[],
  isReport: boolean,
  put: (plane: keyof typeof PARTS, word: number) => void,
): void {
  const hasOverflow = tokens.some((token) => isOverflow(row[token]!));
  const largest = hasOverflow
    ? { token: NO_TOKEN, value: HIGHEST }
    : best(tokens, (token) => row[token]!);
  put("peak", f32ToBits(largest.value));
  put("token", largest.token);
  const weigh = (temperature: number) =>
    tokens.reduce((sum, t) => sum + Math.exp((row[t]! - largest.value) / temperature), 0);
  const temperature = bitsToF32(sample[SAMPLE.temperature]!);
  if (isReport) return void put("weight", f32ToBits(weigh(1)));
  if (temperature <= 0 || !isWhole(sample, row.length)) return;
  if (largest.token === NO_TOKEN) {
    put("score", f32ToBits(LOWEST));
    return void put("weight", 0);
  }
  const score = (t: number) => (row[t]! - largest.value) / temperature + gumbel(sample, t);
  const highest = best(tokens, score);
  put("token", highest.token);
  put("score", f32ToBits(highest.value));
  if (bitsToF32(sample[SAMPLE.topP]!) < 1) put("weight", f32ToBits(weigh(temperature)));
}

/** Whether a draw passes over the whole vocabulary: no filter but perhaps the nucleus. */
function isWhole(sample: Uint32Array, vocabSize: number): boolean {
  const topK = sample[SAMPLE.topK]!;
  return (topK === 0 || topK >= vocabSize) && bitsToF32(sample[SAMPLE.minP]!) <= 0;
}

function best(tokens: readonly number[], value: (token: number) => number) {
  let best = { token: NO_TOKEN, value: LOWEST };
  for (const token of tokens) {
    if (value(token) > best.value) best = { token, value: value(token) };
  }
  return best;
}

/** Sums up the rows of a step, or with `REPORT` only those whose log-probabilities are asked for. */
export function samplePartsCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits" | "parts", DeviceBuffer>>,
): KernelCall<StepDims> {
  const { M, PART_LANES, REPORT } = shape;
  return kernelCall(sampleParts, {
    label: REPORT ? "sample_parts, report" : "sample_parts",
    constants: shape,
    buffers,
    workgroups: ({ numSamples, numReports }) => [
      M / PART_LANES,
      REPORT && numReports === 0 ? 0 : numSamples,
      1,
    ],
  });
}

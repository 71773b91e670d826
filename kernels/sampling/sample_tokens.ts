import { bitsToF32, f32ToBits } from "../../src/base/float_bits.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { isOverflow, LOWEST } from "./logit_range.ts";
import segmentSummary from "./_segment_summary.wgsl" with { type: "text" };
import { gumbel } from "./random_draw.ts";
import reduce from "./_reduce.wgsl" with { type: "text" };
import source from "./sample_tokens.wgsl" with { type: "text" };
import { NO_TOKEN, SEGMENT_ARGS, type Segments, segmentsWgsl } from "./segments.ts";
import { ADJUST, DRAW, DRAW_WORDS, SAMPLED, SAMPLED_WORDS, STEP, type StepDims } from "../step.ts";

type Shape = Segments & Readonly<{ LANES: number; FUSED: boolean }>;

/**
 * Draws one token per row of `logits` f32 [R, V] into rows of `sampled` u32 [, SAMPLED_WORDS] from
 * the step's first draw on; NO_TOKEN where the row has overflowed or all of its tokens are banned.
 */
export const sampleTokens: Kernel<Shape & Readonly<{ REPORT: false }>> = {
  name: "sample_tokens",
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
      const first = words[STEP.draws]! + r * DRAW_WORDS;
      const draw = words.subarray(first, first + DRAW_WORDS);
      const row = logits!.f32.subarray(r * V, (r + 1) * V);
      const out = sampled!.u32.subarray((words[STEP.firstDraw]! + r) * SAMPLED_WORDS);
      const token = canDraw(row) ? chooseToken(row, draw) : NO_TOKEN;
      out[SAMPLED.token] = token;
      if (draw[DRAW.numLogprobs]! > 0 && token !== NO_TOKEN) {
        const logTotal = bitsToF32(out[SAMPLED.logprob]!);
        out[SAMPLED.logprob] = f32ToBits(ownLogit(words, draw, row, token) - logTotal);
      }
    }
  },
};

/** Whether nothing has overflowed, and a token is left that is not banned. */
function canDraw(row: Float32Array): boolean {
  return !row.some(isOverflow) && row.some((logit) => logit > LOWEST);
}

function chooseToken(row: Float32Array, draw: Uint32Array): number {
  if (draw[DRAW.forced]! > 0) return draw[DRAW.forced]! - 1;
  return bitsToF32(draw[DRAW.temperature]!) > 0 ? sampleToken(row, draw) : argmax(row);
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The definition of sampling: sort, filter, then the Gumbel-max draw. */
function sampleToken(row: Float32Array, draw: Uint32Array): number {
  const temperature = bitsToF32(draw[DRAW.temperature]!);
  let kept = Array.from(row, (logit, token) => ({ token, z: logit / temperature }));
  kept.sort((a, b) => b.z - a.z || a.token - b.token);
  const max = kept[0]!.z;
  const minP = bitsToF32(draw[DRAW.minP]!);
  if (minP > 0) kept = kept.filter(({ z }) => z >= max + Math.log(minP));
  const topK = draw[DRAW.topK]!;
  if (topK > 0 && topK < kept.length) {
    const border = kept[topK - 1]!.z;
    kept = kept.filter(({ z }) => z >= border);
  }
  const topP = bitsToF32(draw[DRAW.topP]!);
  if (topP < 1) kept = nucleus(kept, topP, max);
  let best = { token: kept[0]!.token, score: -Infinity };
  for (const { token, z } of kept) {
    const score = z - max + gumbel(draw, token);
    if (score > best.score) best = { token, score };
  }
  return best.token;
}

/**
 * The shortest run of `sorted` whose weight reaches `topP` of the whole, with ties at its border.
 */
function nucleus<T extends { z: number }>(sorted: T[], topP: number, max: number): T[] {
  const all = sorted.reduce((sum, { z }) => sum + Math.exp(z - max), 0);
  let sum = 0;
  for (const { z } of sorted) {
    sum += Math.exp(z - max);
    if (sum >= topP * all) return sorted.filter((other) => other.z >= z);
  }
  return sorted;
}

/** A token's logit before it was adjusted: its entry has it, where there is one. */
function ownLogit(
  words: Uint32Array,
  draw: Uint32Array,
  row: Float32Array,
  token: number,
): number {
  if (draw[DRAW.adjust] === 0) return row[token]!;
  const record = words.subarray(draw[DRAW.adjust]!);
  const first = record[ADJUST.tokens]!;
  const numTokens = record[ADJUST.numTokens]!;
  const entry = words.subarray(first, first + numTokens).indexOf(token);
  return entry === -1 ? row[token]! : bitsToF32(words[first + 2 * numTokens + entry]!);
}

/** Draws every token of the step from its segments' sums. */
export function sampleTokensCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits" | "segments" | "sampled", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(sampleTokens, {
    constants: { ...shape, REPORT: false },
    buffers,
    workgroups: ({ numDraws }) => [numDraws, 1, 1],
  });
}

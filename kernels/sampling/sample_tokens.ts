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

function argmax(values: Float32Array | Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/**
 * The definition of sampling: each filter is a border of `z`, the logits over the temperature, and
 * the Gumbel-max draw is among the tokens at or above the last one.
 */
function sampleToken(row: Float32Array, draw: Uint32Array): number {
  const temperature = bitsToF32(draw[DRAW.temperature]!);
  const zs = new Float64Array(row.length);
  for (let token = 0; token < zs.length; token++) zs[token] = row[token]! / temperature;
  let best = argmax(zs);
  const max = zs[best]!;
  const border = borderOf(zs, max, draw);
  let bestScore = -Infinity;
  for (let token = 0; token < zs.length; token++) {
    const z = zs[token]!;
    if (!(z >= border)) continue;
    const score = z - max + gumbel(draw, token);
    // Of equal scores the likelier token's counts, then the lower token's.
    if (score > bestScore || (score === bestScore && z > zs[best]!)) {
      best = token;
      bestScore = score;
    }
  }
  return best;
}

/** The least `z` that passes the filters, each among what the one before has kept. */
function borderOf(zs: Float64Array, max: number, draw: Uint32Array): number {
  const minP = bitsToF32(draw[DRAW.minP]!);
  const topK = draw[DRAW.topK]!;
  const topP = bitsToF32(draw[DRAW.topP]!);
  let border = minP > 0 ? max + Math.log(minP) : -Infinity;
  if (topK === 0 && topP >= 1) return border;
  let kept = zs.filter((z) => z >= border).sort().reverse();
  if (topK > 0 && topK < kept.length) {
    border = kept[topK - 1]!;
    kept = kept.filter((z) => z >= border);
  }
  return topP < 1 ? nucleusBorder(kept, topP, max) ?? border : border;
}

/**
 * The least of the shortest run of `sorted`, largest first, whose weight reaches `topP` of the
 * whole; undefined where that is all of it.
 */
function nucleusBorder(sorted: Float64Array, topP: number, max: number): number | undefined {
  let all = 0;
  for (const z of sorted) all += Math.exp(z - max);
  let sum = 0;
  for (const z of sorted) {
    sum += Math.exp(z - max);
    if (sum >= topP * all) return z;
  }
  return undefined;
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

import { bitsToF32, f32ToBits } from "../src/device/half.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import source from "./sample_tokens.wgsl" with { type: "text" };
import {
  SAMPLE,
  SAMPLE_WORDS,
  SAMPLED,
  SAMPLED_WORDS,
  STEP,
  type StepDims,
  stepWgsl,
} from "./step.ts";

type Shape = Readonly<{ V: number; LANES: number }>;

/** Draws one token per row of `logits` f32 [R, V] into `sampled` u32 [R, SAMPLED_WORDS]. */
export const sampleTokens: Kernel<Shape> = {
  name: "sample_tokens",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "logits", access: "read" },
    { name: "sampled", access: "read_write" },
  ],
  reference({ step, logits, sampled }, { V }) {
    const words = step!.u32;
    for (let r = 0; r < words[STEP.numSamples]!; r++) {
      const first = words[STEP.samples]! + r * SAMPLE_WORDS;
      const sample = words.subarray(first, first + SAMPLE_WORDS);
      const row = logits!.f32.subarray(r * V, (r + 1) * V);
      const out = sampled!.u32.subarray(r * SAMPLED_WORDS, (r + 1) * SAMPLED_WORDS);
      const token = bitsToF32(sample[SAMPLE.temperature]!) > 0 ? draw(row, sample) : argmax(row);
      out[SAMPLED.token] = token;
      if (sample[SAMPLE.numLogprobs]! > 0) {
        report(row, out, token, sample[SAMPLE.numLogprobs]! - 1);
      }
    }
  },
};

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The definition of sampling: sort, filter, then the Gumbel-max draw. */
function draw(row: Float32Array, sample: Uint32Array): number {
  const temperature = bitsToF32(sample[SAMPLE.temperature]!);
  let kept = Array.from(row, (logit, token) => ({ token, z: logit / temperature }));
  kept.sort((a, b) => b.z - a.z || a.token - b.token);
  const peak = kept[0]!.z;
  const minP = bitsToF32(sample[SAMPLE.minP]!);
  if (minP > 0) kept = kept.filter(({ z }) => z >= peak + Math.log(minP));
  const topK = sample[SAMPLE.topK]!;
  if (topK > 0 && topK < kept.length) {
    const border = kept[topK - 1]!.z;
    kept = kept.filter(({ z }) => z >= border);
  }
  const topP = bitsToF32(sample[SAMPLE.topP]!);
  if (topP < 1) kept = nucleus(kept, topP, peak);
  const gumbel = (token: number) => -Math.log(-Math.log(uniformDraw(sample, token)));
  let best = { token: kept[0]!.token, score: -Infinity };
  for (const { token, z } of kept) {
    const score = z - peak + gumbel(token);
    if (score > best.score) best = { token, score };
  }
  return best.token;
}

/** The shortest run of `sorted` whose weight reaches `topP` of the whole, with ties at its border. */
function nucleus<T extends { z: number }>(sorted: T[], topP: number, peak: number): T[] {
  const all = sorted.reduce((sum, { z }) => sum + Math.exp(z - peak), 0);
  let sum = 0;
  for (const { z } of sorted) {
    sum += Math.exp(z - peak);
    if (sum >= topP * all) return sorted.filter((other) => other.z >= z);
  }
  return sorted;
}

/** pcg4d of (seed, output index, token), mapped to (0, 1). */
function uniformDraw(sample: Uint32Array, token: number): number {
  const seeds = [
    sample[SAMPLE.seedLow]!,
    sample[SAMPLE.seedHigh]!,
    sample[SAMPLE.outputIndex]!,
    token,
  ];
  const v = Uint32Array.from(seeds, (word) => Math.imul(word, 1664525) + 1013904223);
  const mix = (to: number, a: number, b: number) => v[to]! += Math.imul(v[a]!, v[b]!);
  const round = () => [mix(0, 1, 3), mix(1, 2, 0), mix(2, 0, 1), mix(3, 1, 2)];
  round();
  for (let i = 0; i < 4; i++) v[i]! ^= v[i]! >>> 16;
  round();
  return ((v[0]! >>> 9) + 0.5) / 8388608;
}

function report(row: Float32Array, out: Uint32Array, token: number, count: number): void {
  const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
  const peak = row[order[0]!]!;
  const logTotal = peak + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - peak), 0));
  out[SAMPLED.logprob] = f32ToBits(row[token]! - logTotal);
  for (const [i, best] of order.slice(0, count).entries()) {
    out[SAMPLED.top + 2 * i] = best;
    out[SAMPLED.top + 2 * i + 1] = f32ToBits(row[best]! - logTotal);
  }
}

/** Draws every sample of the step. */
export function sampleTokensCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits" | "sampled", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(sampleTokens, {
    constants: shape,
    buffers,
    workgroups: ({ numSamples }) => [numSamples, 1, 1],
  });
}

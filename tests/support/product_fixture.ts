import { HEADER_WORDS, NO_WORK, STEP, type StepDims } from "../../kernels/step.ts";
import { isQuantized, type WeightDtype } from "../../src/core/weight_format.ts";
import { noise } from "./agreement.ts";
import { weightFixture } from "./weight_fixture.ts";

/** Rows of x, w and y past the last one, which must stay as they are and unread. */
export const POISONED_ROWS = 3;

/** The metadata of a step that has so many tokens and nothing else. */
export function header(numTokens: number): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numTokens;
  return words;
}

/** What the workgroups of such a step follow from. */
export function dimsOf(numTokens: number): StepDims {
  return { ...NO_WORK, numTokens };
}

/** A matrix in memory of `dtype`, with poison after it where that is a number type. */
export function matrix(numRows: number, width: number, dtype: WeightDtype) {
  if (isQuantized(dtype)) return weightFixture(dtype, numRows, width);
  const values = poisoned(numRows, width, 2);
  if (dtype === "f32") return values;
  if (dtype === "f16") return new Uint16Array(new Float16Array(values).buffer);
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

/** `numRows` rows of noise in [-scale, scale), and poison after them. */
export function poisoned(
  numRows: number,
  width: number,
  seed: number,
  scale = 1,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array((numRows + POISONED_ROWS) * width).fill(NaN);
  values.set(noise(numRows * width, seed, scale));
  return values;
}

import { ceilDiv } from "../../src/base/math.ts";
import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./next_step.wgsl" with { type: "text" };
import { NO_TOKEN } from "./segments.ts";
import { SAMPLED, SAMPLED_WORDS, STEP, stepWgsl } from "../step.ts";

/** Words of `further` that say where a further step's metadata is: its first word and how many. */
export const FURTHER_ENTRY_WORDS = 2;

/**
 * Workgroups are counted for whole multiples of so many words: block tables grow from step to step,
 * and commands that were recorded ahead of that are to fit nevertheless.
 */
const GRAIN = 2048;

/** `INDEX`: which of the further steps comes next, from 0. */
type Shape = Readonly<{ INDEX: number }>;

/** Puts a further decode step's metadata in `step`, with the tokens just drawn as its token ids. */
export const nextStep: Kernel<Shape> = {
  name: "next_step",
  source: `${stepWgsl}const NO_TOKEN: u32 = ${NO_TOKEN}u;\n${argsWgsl(["INDEX"])}${source}`,
  bindings: [
    { name: "further", access: "read" },
    { name: "sampled", access: "read" },
    { name: "step", access: "read_write" },
  ],
  args: ["INDEX"],
  reference({ further, sampled, step }, { INDEX }) {
    const entry = INDEX * FURTHER_ENTRY_WORDS;
    const first = further!.u32[entry]!;
    const words = further!.u32.subarray(first, first + further!.u32[entry + 1]!);
    step!.u32.set(words);
    const tokens = step!.u32.subarray(words[STEP.tokens]).subarray(0, words[STEP.numTokens]);
    tokens.forEach((draw, row) => {
      const token = sampled!.u32[draw * SAMPLED_WORDS + SAMPLED.token]!;
      tokens[row] = token === NO_TOKEN ? 0 : token;
    });
  },
};

/** Begins the further step `index`, whose metadata has `numWords` words. */
export function nextStepCall(
  index: number,
  buffers: Readonly<Record<"further" | "sampled" | "step", DeviceBuffer>>,
): KernelCall<{ readonly numWords: number }> {
  return kernelCall(nextStep, {
    constants: { INDEX: index },
    buffers,
    workgroups: ({ numWords }) => [GRAIN / 64 * ceilDiv(numWords, GRAIN), 1, 1],
  });
}

import { FURTHER_ENTRY_WORDS } from "../../kernels/sampling/next_step.ts";
import { STEP, type StepDims } from "../../kernels/step.ts";
import {
  type Batch,
  MAX_DECODE_STEPS,
  numDecodeStepsIn,
  numDecodeStepsOf,
  type ScheduledChunk,
} from "../core/batch.ts";
import type { StepPacker } from "./step_packer.ts";

/** In place of a token that no one knows yet. */
const UNNAMED = Uint32Array.of(0);

/** The words before the metadata of the first further step. */
const FIRST_WORD = FURTHER_ENTRY_WORDS * (MAX_DECODE_STEPS - 1);

/** The further decode steps of a plan as the device is given them. */
export interface PackedFurtherSteps {
  /** What `next_step` reads; valid until the next `pack`. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Of each of the steps: its sizes, and the words of its metadata. */
  readonly steps: readonly { readonly dims: StepDims; readonly numWords: number }[];
  /**
   * For each chunk of the plan, in its order, the rows of `sampled` that its draws go to, in order.
   */
  readonly draws: readonly (readonly number[])[];
}

/**
 * Writes the metadata of a plan's decode steps behind the first, one after the other, into one
 * reused array. In place of token ids they name the draws of the step before.
 */
export class FurtherStepPacker {
  readonly #packer: StepPacker;
  #words = new Uint32Array(FIRST_WORD);

  /** @param packer packs each step; what it has packed before is lost. */
  constructor(packer: StepPacker) {
    this.#packer = packer;
  }

  pack(batch: Batch): PackedFurtherSteps {
    const draws = batch.chunks.map((_, i) => [i]);
    const numSteps = numDecodeStepsIn(batch);
    const steps: { dims: StepDims; numWords: number }[] = [];
    let numDraws = draws.length;
    let end = FIRST_WORD;
    for (let step = 1; step < numSteps; step++) {
      const left = chunksLeft(batch, step);
      const { words, dims } = this.#packer.pack(
        {
          step: 0,
          chunks: left.map((i) => stepOf(batch.chunks[i]!, step)),
          numTokens: left.length,
        },
        numSteps,
      );
      const tokens = words[STEP.tokens]!;
      left.forEach((i, row) => words[tokens + row] = draws[i]!.at(-1)!);
      words[STEP.firstDraw] = numDraws;
      this.#reserve(end + words.length);
      this.#words.set(words, end);
      this.#words.set([end, words.length], FURTHER_ENTRY_WORDS * (step - 1));
      end += words.length;
      steps.push({ dims, numWords: words.length });
      for (const i of left) draws[i]!.push(numDraws++);
    }
    return { words: this.#words.subarray(0, end), steps, draws };
  }

  #reserve(numWords: number): void {
    if (numWords <= this.#words.length) return;
    const larger = new Uint32Array(Math.max(numWords, 2 * this.#words.length));
    larger.set(this.#words);
    this.#words = larger;
  }
}

/** Which chunks of a plan have a further step `step`. */
function chunksLeft({ chunks }: Batch, step: number): number[] {
  const left: number[] = [];
  chunks.forEach((chunk, i) => {
    if (numDecodeStepsOf(chunk) > step) left.push(i);
  });
  return left;
}

/** The further step `step` of a chunk by itself; its token is to be named. */
function stepOf(
  { sequenceId, start, blockTables, draw, isLongContext }: ScheduledChunk,
  step: number,
): ScheduledChunk {
  const { temperature, topK, topP, minP, seed, outputIndex, numLogprobs } = draw!;
  const next = { temperature, topK, topP, minP, seed, outputIndex: outputIndex + step };
  const chunk = {
    sequenceId,
    tokens: UNNAMED,
    start: start + step,
    blockTables,
    // Field by field: a spread takes several times as long, and most have no more.
    draw: numLogprobs === undefined ? next : { ...next, numLogprobs },
  };
  return isLongContext === undefined ? chunk : { ...chunk, isLongContext };
}

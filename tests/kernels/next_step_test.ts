/** The metadata of a further decode step, with the tokens that the step before has drawn. */
import { assertEquals } from "@std/assert";
import { FURTHER_ENTRY_WORDS, nextStepCall } from "../../kernels/sampling/next_step.ts";
import { NO_TOKEN } from "../../kernels/sampling/segments.ts";
import { HEADER_WORDS, SAMPLED, SAMPLED_WORDS, STEP } from "../../kernels/step.ts";
import { gpuTest, runBoth } from "../support/agreement.ts";

const NUM_DRAWS = 7;
const INDEX = 2;
/** Where the metadata of the step begins in `further`. */
const FIRST = 40;

/** A step of these tokens' draws, and `numWords` words in all, none of which is another's. */
function stepOf(draws: readonly number[], numWords: number, tokensAt = HEADER_WORDS): Uint32Array {
  const words = Uint32Array.from({ length: numWords }, (_, i) => 1000 + i);
  words[STEP.numTokens] = draws.length;
  words[STEP.tokens] = tokensAt;
  words.set(draws, tokensAt);
  return words;
}

const sampled = new Uint32Array(NUM_DRAWS * SAMPLED_WORDS).fill(77);
for (let draw = 0; draw < NUM_DRAWS; draw++) {
  sampled[draw * SAMPLED_WORDS + SAMPLED.token] = draw === 5 ? NO_TOKEN : 300 + draw;
}

gpuTest(
  "next_step puts the words of its step in place, and drawn tokens as their ids",
  async (gpu) => {
    const cases = [
      { draws: [3], numWords: 30 },
      { draws: [6, 0, 5, 3], numWords: 64 },
      { draws: [0, 1, 2, 3, 4], numWords: 5000, tokensAt: 4000 },
    ];
    for (const { draws, numWords, tokensAt = HEADER_WORDS } of cases) {
      const words = stepOf(draws, numWords, tokensAt);
      const further = new Uint32Array(FIRST + numWords + 100).fill(5);
      further.set([FIRST, numWords], INDEX * FURTHER_ENTRY_WORDS);
      further.set(words, FIRST);
      const { actual, expected } = await runBoth(
        gpu,
        // What is behind the step's end is not its own.
        { further, sampled, step: new Uint32Array(numWords + 3000).fill(9) },
        (b) => [nextStepCall(INDEX, b as never)],
        { numWords },
        "step",
      );
      const tokens = draws.map((draw) => draw === 5 ? 0 : 300 + draw);
      const wanted = new Uint32Array(numWords + 3000).fill(9);
      wanted.set(words);
      wanted.set(tokens, tokensAt);
      assertEquals(expected.u32, wanted);
      assertEquals(actual.u32, wanted);
    }
  },
);

/** Sums of runs of rows, and log-probabilities of tokens that are forced. */
import { assertEquals } from "@std/assert";
import { poolRowsCall } from "../../kernels/norm/pool_rows.ts";
import { HEADER_WORDS, NO_WORK, POOLING_WORDS, STEP } from "../../kernels/step.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";

/** `[firstRow, numRows]` of each run. */
const RUNS = [[0, 1], [3, 5], [2, 9], [11, 1]] as const;
const NUM_ROWS = 12;

function stepOf(runs: readonly (readonly [number, number])[]): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS + POOLING_WORDS * runs.length);
  words[STEP.numTokens] = NUM_ROWS;
  words[STEP.numPoolings] = runs.length;
  words[STEP.poolings] = HEADER_WORDS;
  words.set(runs.flat(), HEADER_WORDS);
  return words;
}

for (const lanes of [8, 64]) {
  gpuTest(`pool_rows gives the bits of the definition: ${lanes} lanes`, async (gpu) => {
    for (const e of [4, 64, 100]) {
      const before = noise((RUNS.length + 1) * e, 3);
      const { actual, expected } = await runBoth(
        gpu,
        { step: stepOf(RUNS), x: noise(NUM_ROWS * e, 4), out: before },
        (b) => [poolRowsCall({ e, lanes }, b as never)],
        { ...NO_WORK, numTokens: NUM_ROWS, numPoolings: RUNS.length },
        "out",
      );
      assertEquals(actual.u32, expected.u32);
      // What is behind the last run stays.
      assertEquals(actual.f32.slice(RUNS.length * e), before.slice(RUNS.length * e));
    }
  });

  gpuTest(
    `pool_rows goes on where an earlier sum ended, bit by bit: ${lanes} lanes`,
    async (gpu) => {
      const e = 36;
      const x = noise(NUM_ROWS * e, 5);
      const sumOf = async (run: readonly [number, number], out: Float32Array) =>
        (await runBoth(
          gpu,
          { step: stepOf([run]), x, out },
          (b) => [poolRowsCall({ e, lanes }, b as never)],
          { ...NO_WORK, numTokens: NUM_ROWS, numPoolings: 1 },
          "out",
        )).actual.f32.slice(0, e);
      const whole = await sumOf([1, 10], new Float32Array(e));
      const first = await sumOf([1, 3], new Float32Array(e));
      assertEquals(await sumOf([4, 7], first), whole);
    },
  );
}

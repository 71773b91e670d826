import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import type { TokenLogprob } from "../../src/core/batch.ts";
import {
  BeamSearch,
  type BeamSearchOptions,
  type Hypothesis,
  tokensOf,
} from "../../src/scheduler/beam_search.ts";
import { type Model, searchAlone } from "../support/beam_reference.ts";
import { likeliestAfter } from "../support/paged_fake_runner.ts";
import { runs, times } from "../support/runs.ts";

const OPTIONS: BeamSearchOptions = {
  width: 2,
  lengthPenalty: 1,
  earlyStopping: true,
  stopTokenIds: [9],
  maxNumTokens: 3,
};

/** Tokens with their probabilities. */
function candidates(...pairs: readonly (readonly [number, number])[]): TokenLogprob[] {
  return pairs.map(([token, probability]) => ({ token, logprob: Math.log(probability) }));
}

/** Tokens, finish reason and score. */
function plain(hypotheses: readonly Hypothesis[]) {
  return hypotheses.map((hypothesis) => ({
    outputs: tokensOf(hypothesis).map(({ token }) => token),
    finishReason: hypothesis.finishReason,
    score: hypothesis.score,
  }));
}

/** Runs a search over a model from a prompt to its end; also how many steps it took. */
function search(model: Model, prompt: readonly number[], options: BeamSearchOptions) {
  const search = new BeamSearch(options);
  let beams: number[][] = [[]];
  let numSteps = 0;
  for (; !search.isDone; numSteps++) {
    const next = search.advance(
      beams.map((outputs) => model([...prompt, ...outputs], 2 * options.width)),
    );
    beams = next.map(({ parent, token }) => [...beams[parent]!, token]);
  }
  return { hypotheses: search.hypotheses, numSteps };
}

Deno.test("BeamSearch.advance() follows the likeliest continuations of all beams together", () => {
  const search = new BeamSearch(OPTIONS);
  assertEquals(
    search.advance([candidates([1, 0.5], [2, 0.4], [3, 0.1])]).map(({ parent, token }) => [
      parent,
      token,
    ]),
    [[0, 1], [0, 2]],
  );
  const next = search.advance([
    candidates([4, 0.3], [5, 0.3], [6, 0.2], [7, 0.2]),
    candidates([4, 0.9], [5, 0.05], [6, 0.03], [7, 0.02]),
  ]);
  assertEquals(next.map(({ parent, token }) => [parent, token]), [[1, 4], [0, 4]]);
});

Deno.test("BeamSearch.advance() takes a stop token among the width likeliest as an end, others not", () => {
  const search = new BeamSearch(OPTIONS);
  const next = search.advance([candidates([1, 0.5], [9, 0.3], [2, 0.15], [3, 0.05])]);
  assertEquals(next.map(({ token }) => token), [1, 2], "the end takes no beam's place");
  assertEquals(plain(search.hypotheses).map(({ outputs }) => outputs), [[9]]);
  search.advance([
    candidates([4, 0.6], [5, 0.3], [9, 0.1]),
    candidates([4, 0.5], [5, 0.5]),
  ]);
  assertEquals(search.hypotheses.length, 1, "0.5 * 0.1 is the fourth");
});

Deno.test("BeamSearch ends with width hypotheses, best first, and keeps no others", () => {
  const search = new BeamSearch({ ...OPTIONS, maxNumTokens: 9 });
  search.advance([candidates([9, 0.5], [1, 0.4], [2, 0.1])]);
  assertEquals(search.isDone, false);
  search.advance([candidates([9, 0.9], [3, 0.1]), candidates([9, 0.8], [3, 0.2])]);
  assert(search.isDone);
  const scores = plain(search.hypotheses);
  assertEquals(scores.map(({ outputs }) => outputs), [[1, 9], [9]]);
  assertAlmostEquals(scores[0]!.score, Math.log(0.4 * 0.9) / 2);
  assertAlmostEquals(scores[1]!.score, Math.log(0.5));
});

Deno.test("BeamSearch ends at the last token with what is there", () => {
  const { hypotheses, numSteps } = search(
    () => candidates([1, 0.6], [2, 0.3], [3, 0.1]),
    [],
    OPTIONS,
  );
  assertEquals(numSteps, 3);
  assertEquals(plain(hypotheses).map(({ outputs }) => outputs), [[1, 1, 1], [1, 1, 2]]);
  assert(hypotheses.every(({ finishReason }) => finishReason === "length"));
});

Deno.test("BeamSearch answers as plain search does, for any widths, penalties and ends", () => {
  let numStops = 0;
  let numSaved = 0;
  fc.assert(
    fc.property(
      fc.record({
        prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 3 }),
        vocabSize: fc.integer({ min: 4, max: 9 }),
        width: fc.integer({ min: 1, max: 4 }),
        lengthPenalty: fc.constantFrom(-1, 0, 0.5, 1, 2),
        earlyStopping: fc.boolean(),
        stopTokenIds: fc.uniqueArray(fc.nat(8), { maxLength: 3 }),
        maxNumTokens: fc.integer({ min: 1, max: 7 }),
      }),
      (query) => {
        const model: Model = (tokens, count) => likeliestAfter(tokens, count, query.vocabSize);
        const { answers } = searchAlone(model, query);
        const { hypotheses, numSteps } = search(model, query.prompt, query);
        assertEquals(
          plain(hypotheses),
          answers.map(({ outputs, finishReason, score }) => ({ outputs, finishReason, score })),
        );
        assertEquals(hypotheses.length, query.width);
        numStops += answers.filter(({ finishReason }) => finishReason === "stop").length;
        if (!query.earlyStopping) numSaved += query.maxNumTokens - numSteps;
      },
    ),
    { seed: 31, numRuns: runs(4000) },
  );
  assert(numStops > times(1000), `only ${numStops} answers end with a stop token`);
  assert(numSaved > times(500), `only ${numSaved} steps were found to be in vain`);
});

Deno.test("BeamSearch of width 1 is greedy decoding", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2), { minLength: 1, maxLength: 4 }), fc.nat(16), (prompt, stop) => {
      const options = { ...OPTIONS, width: 1, stopTokenIds: [stop], maxNumTokens: 12 };
      const { hypotheses } = search(likeliestAfter, prompt, options);
      const greedy: number[] = [];
      while (greedy.at(-1) !== stop && greedy.length < 12) {
        greedy.push(likeliestAfter([...prompt, ...greedy], 1)[0]!.token);
      }
      assertEquals(plain(hypotheses).map(({ outputs }) => outputs), [greedy]);
    }),
    { seed: 32, numRuns: runs(200) },
  );
});

Deno.test("BeamSearch.advance() wants candidates of every beam", () => {
  const search = new BeamSearch(OPTIONS);
  assertThrows(() => search.advance([]), InvariantError, "candidates of 0 beams, 1");
  assertThrows(() => search.advance([[]]), InvariantError, "beam 0 has no candidates");
});

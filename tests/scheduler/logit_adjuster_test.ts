import { assertEquals } from "@std/assert";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import { LogitAdjuster } from "../../src/scheduler/logit_adjuster.ts";
import { samplingParams } from "../support/requests.ts";

function adjusterOf(params: Partial<SamplingParams>, prompt: number[] = []) {
  return LogitAdjuster.create(samplingParams(params), Uint32Array.from(prompt));
}

/** `[token, count, bias]` of each entry. */
function entriesOf(adjuster: LogitAdjuster | undefined): number[][] | undefined {
  const adjustment = adjuster?.adjustment();
  if (adjustment === undefined) return undefined;
  const { tokens, counts, biases } = adjustment;
  return Array.from(tokens, (token, i) => [token, counts[i]!, biases[i]!]);
}

Deno.test("LogitAdjuster.create() makes none for who asks for nothing", () => {
  assertEquals(adjusterOf({}, [1, 2]), undefined);
  assertEquals(adjusterOf({ frequencyPenalty: 0, repetitionPenalty: 1, minTokens: 0 }), undefined);
  assertEquals(adjusterOf({ logitBias: [] }), undefined);
  assertEquals(adjusterOf({ minTokens: 4, stopTokenIds: [] }), undefined);
});

Deno.test("LogitAdjuster counts outputs alone for frequency and presence penalties", () => {
  for (const params of [{ frequencyPenalty: 1 }, { presencePenalty: -1 }]) {
    const adjuster = adjusterOf(params, [7, 8])!;
    assertEquals(entriesOf(adjuster), undefined);
    for (const token of [8, 9, 8]) adjuster.count(token);
    assertEquals(entriesOf(adjuster), [[8, 4, 0], [9, 2, 0]]);
  }
});

Deno.test("LogitAdjuster marks the prompt's tokens for the repetition penalty", () => {
  const adjuster = adjusterOf({ repetitionPenalty: 1.2 }, [7, 8, 7])!;
  adjuster.count(8);
  adjuster.count(5);
  assertEquals(entriesOf(adjuster), [[7, 1, 0], [8, 3, 0], [5, 2, 0]]);
  assertEquals(adjuster.adjustment()!.repetitionPenalty, 1.2);
});

Deno.test("LogitAdjuster bans the stop tokens until enough tokens have been drawn", () => {
  const stops = { minTokens: 2, stopTokenIds: [3, 4] };
  const adjuster = adjusterOf(stops)!;
  const banned = [[3, 0, -Infinity], [4, 0, -Infinity]];
  assertEquals(entriesOf(adjuster), banned);
  adjuster.count(9);
  assertEquals(entriesOf(adjuster), banned);
  adjuster.count(9);
  assertEquals(entriesOf(adjuster), undefined);
  const biased = adjusterOf({ ...stops, minTokens: 1, logitBias: [[4, 2], [5, -1]] })!;
  assertEquals(entriesOf(biased), [[4, 0, -Infinity], [5, 0, -1], [3, 0, -Infinity]]);
  biased.count(5);
  assertEquals(entriesOf(biased), [[4, 0, 2], [5, 0, -1], [3, 0, 0]]);
});

Deno.test("LogitAdjuster.adjustment() is a copy, of however many tokens", () => {
  const adjuster = adjusterOf({ presencePenalty: 1, logitBias: [[900, 5]] })!;
  const first = adjuster.adjustment()!;
  for (let token = 0; token < 1000; token++) adjuster.count(token);
  assertEquals([...first.tokens, ...first.counts], [900, 0]);
  const entries = entriesOf(adjuster)!;
  assertEquals(entries.length, 1000);
  assertEquals(entries[0], [900, 2, 5]);
  assertEquals(entries.at(-1), [999, 2, 0]);
});

Deno.test("LogitAdjuster hands the bitmask on as it is", () => {
  const allowedTokens = Uint32Array.of(6);
  assertEquals(adjusterOf({ allowedTokens })!.adjustment()!.allowedTokens, allowedTokens);
});

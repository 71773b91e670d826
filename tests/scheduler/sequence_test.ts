import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { Sequence } from "../../src/scheduler/sequence.ts";
import { samplingParams } from "../support/requests.ts";

function sequenceOf(...prompt: number[]): Sequence {
  const identity = { id: 3, requestId: "r", index: 1 };
  return new Sequence(identity, { prompt: Uint32Array.from(prompt), params: samplingParams() });
}

Deno.test("Sequence starts waiting, with its prompt and nothing computed", () => {
  const sequence = sequenceOf(5, 6, 7);
  assertEquals([sequence.id, sequence.requestId, sequence.index], [3, "r", 1]);
  assertEquals(sequence.state, "waiting");
  assertEquals([sequence.numPromptTokens, sequence.numTokens, sequence.numOutputTokens], [3, 3, 0]);
  assertEquals(sequence.numUncomputedTokens, 3);
});

Deno.test("Sequence.append() keeps every token, however many", () => {
  const sequence = sequenceOf(0);
  for (let token = 1; token < 1000; token++) sequence.append(token);
  assertEquals([...sequence.tokens(0, 1000)], Array.from({ length: 1000 }, (_, i) => i));
  assertEquals([sequence.numPromptTokens, sequence.numOutputTokens], [1, 999]);
});

Deno.test("Sequence.tokens() is a half-open range that stays as it is while tokens are drawn", () => {
  const prompt = Uint32Array.of(5, 6, 7);
  const sequence = new Sequence({ id: 0, requestId: "r", index: 0 }, {
    prompt,
    params: samplingParams(),
  });
  prompt[1] = 99;
  const planned = sequence.tokens(1, 3);
  assertEquals([...planned], [6, 7]);
  assertThrows(() => sequence.tokens(0, 4), InvariantError, "position 4 of 3 tokens");
  for (let token = 0; token < 300; token++) sequence.append(token);
  assertEquals([...planned], [6, 7]);
  assertEquals([...sequence.tokens(0, 4)], [5, 6, 7, 0]);
});

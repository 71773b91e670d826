import { assertEquals } from "@std/assert";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import { SampledSequence } from "../../src/scheduler/sampled_sequence.ts";
import { finishReason } from "../../src/scheduler/stopping.ts";
import { samplingParams } from "../support/requests.ts";

/** The reason after a prompt of two tokens and `outputs`. */
function reasonAfter(outputs: number[], overrides: Partial<SamplingParams>, maxModelLen = 100) {
  const sequence = new SampledSequence({ id: 0, requestId: "r", index: 0 }, {
    prompt: Uint32Array.of(8, 9),
    params: samplingParams(overrides),
  });
  for (const token of outputs) sequence.append(token);
  return finishReason(sequence, outputs.at(-1)!, maxModelLen);
}

Deno.test("finishReason() is stop at any of the stop tokens", () => {
  const params = { maxTokens: 9, stopTokenIds: [4, 5] };
  assertEquals(reasonAfter([3], params), undefined);
  assertEquals(reasonAfter([3, 4], params), "stop");
  assertEquals(reasonAfter([5], params), "stop");
});

Deno.test("finishReason() does not look for stop tokens in the prompt", () => {
  assertEquals(reasonAfter([3], { maxTokens: 9, stopTokenIds: [8, 9] }), undefined);
});

Deno.test("finishReason() is length after maxTokens outputs", () => {
  assertEquals(reasonAfter([3, 3], { maxTokens: 3 }), undefined);
  assertEquals(reasonAfter([3, 3, 3], { maxTokens: 3 }), "length");
});

Deno.test("finishReason() is length when prompt and output fill the model's context", () => {
  assertEquals(reasonAfter([3, 3], { maxTokens: 9 }, 5), undefined);
  assertEquals(reasonAfter([3, 3, 3], { maxTokens: 9 }, 5), "length");
});

Deno.test("finishReason() is stop when a stop token is also the last one allowed", () => {
  assertEquals(reasonAfter([3, 4], { maxTokens: 2, stopTokenIds: [4] }, 4), "stop");
});

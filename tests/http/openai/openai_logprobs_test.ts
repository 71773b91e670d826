import { assertEquals } from "@std/assert";
import { chatLogprobs, completionLogprobs } from "../../../src/http/openai/openai_logprobs.ts";
import { FakeText } from "../fake_text.ts";

const vocabulary = new FakeText();
const SCORED = [{
  token: 72,
  logprob: -0.25,
  topLogprobs: [{ token: 72, logprob: -0.25 }, { token: 73, logprob: -Infinity }],
  textOffset: 4,
}];

Deno.test("chatLogprobs() gives text, bytes and alternatives of each token", () => {
  const h = { token: "H", logprob: -0.25, bytes: [72] };
  const i = { token: "I", logprob: -9999, bytes: [73] };
  assertEquals(chatLogprobs(vocabulary, SCORED), {
    content: [{ ...h, top_logprobs: [h, i] }],
    refusal: null,
  });
});

Deno.test("completionLogprobs() gives parallel arrays with the chosen token among the likeliest", () => {
  const chosen = {
    token: 74,
    logprob: -3,
    topLogprobs: [{ token: 72, logprob: -1 }],
    textOffset: 5,
  };
  assertEquals(completionLogprobs(vocabulary, [...SCORED, chosen]), {
    tokens: ["H", "J"],
    token_logprobs: [-0.25, -3],
    top_logprobs: [{ H: -0.25, I: -9999 }, { H: -1, J: -3 }],
    text_offset: [4, 5],
  });
});

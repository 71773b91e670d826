import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { checkPromptChars, fitMaxTokens } from "../../../src/http/prompt/prompt_limits.ts";

const NOTHING_ASKED = { maxTokens: undefined, fallback: Infinity };

function fail(fn: () => unknown) {
  return assertThrows(fn, RequestError).data;
}

Deno.test("fitMaxTokens() gives what was asked for, up to the last position", () => {
  assertEquals(fitMaxTokens(10, "prompt", 16, { maxTokens: 6, fallback: 16 }), 6);
  const data = fail(() => fitMaxTokens(10, "prompt", 16, { maxTokens: 7, fallback: 16 }));
  assertEquals(data.code, "context_length_exceeded");
  assertEquals(data.details, { n_prompt_tokens: 10, n_ctx: 16 });
  assertStringIncludes(
    data.message,
    "maximum context length is 16 tokens. However, you requested 17 tokens (10 in the prompt, 7 in the",
  );
});

Deno.test("fitMaxTokens() cuts the fallback to the room that is left", () => {
  assertEquals(fitMaxTokens(10, "prompt", 100, { maxTokens: null, fallback: 16 }), 16);
  assertEquals(fitMaxTokens(90, "prompt", 100, { maxTokens: undefined, fallback: 16 }), 10);
  assertEquals(fitMaxTokens(1, "messages", 100, NOTHING_ASKED), 99);
});

Deno.test("fitMaxTokens() refuses a prompt that leaves no room, and one without a token", () => {
  assertEquals(fitMaxTokens(15, "messages", 16, NOTHING_ASKED), 1);
  const data = fail(() => fitMaxTokens(16, "messages", 16, NOTHING_ASKED));
  assertEquals([data.status, data.code, data.param], [400, "context_length_exceeded", "messages"]);
  assertStringIncludes(data.message, "your messages resulted in 16 tokens");
  assertEquals(fail(() => fitMaxTokens(0, "prompt", 16, NOTHING_ASKED)).code, "invalid_value");
});

Deno.test("checkPromptChars() refuses only what cannot fit whatever its tokens are", () => {
  const limits = { maxModelLen: 16, maxCharsPerToken: 4 };
  checkPromptChars(60, "prompt", limits);
  const data = fail(() => checkPromptChars(61, "prompt", limits));
  assertEquals(data.code, "context_length_exceeded");
  assertEquals(data.details, { n_prompt_tokens: 16, n_ctx: 16 });
  assertStringIncludes(data.message, "at least 16 tokens");
});

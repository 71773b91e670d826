import { assertEquals } from "@std/assert";
import { chatChoices } from "../../../src/http/openai/chat_choices.ts";
import { FakeText } from "../fake_text.ts";

const text = new FakeText();
const SCORED = [{ token: 72, logprob: -1, topLogprobs: [], textOffset: 0 }];
const FINISH = { reason: "stop", stopReason: "END" } as const;

Deno.test("chatFormat() opens with the role and closes with an empty delta", () => {
  const format = chatChoices({ text, hasLogprobs: false });
  assertEquals(format.openingChoice(1), {
    index: 1,
    delta: { role: "assistant", content: "" },
    logprobs: null,
    finish_reason: null,
  });
  assertEquals(format.textChoices({ index: 1, text: "H", tokenIds: [72], scored: SCORED })[0], {
    index: 1,
    delta: { content: "H" },
    logprobs: null,
    finish_reason: null,
  });
  assertEquals(format.finishChoice(1, FINISH), {
    index: 1,
    delta: {},
    logprobs: null,
    finish_reason: "stop",
    stop_reason: "END",
  });
  assertEquals(format.firstFields, {});
});

Deno.test("chatFormat() reports log-probabilities and token ids when asked for", () => {
  const promptTokenIds = Uint32Array.of(1, 2);
  const format = chatChoices({ text, hasLogprobs: true, promptTokenIds });
  assertEquals(format.firstFields, { prompt_token_ids: [1, 2] });
  assertEquals(
    format.wholeChoice({ index: 0, text: "H", tokenIds: [72], scored: SCORED, finish: FINISH }),
    {
      index: 0,
      message: { role: "assistant", content: "H", refusal: null },
      logprobs: {
        content: [{ token: "H", logprob: -1, bytes: [72], top_logprobs: [] }],
        refusal: null,
      },
      finish_reason: "stop",
      stop_reason: "END",
      token_ids: [72],
    },
  );
});

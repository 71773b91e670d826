import { assertEquals } from "@std/assert";
import { chatChoices } from "../../../src/http/openai/chat_choices.ts";
import { FakeText } from "../fake_text.ts";

const text = new FakeText();
const SCORED = [{ token: 72, logprob: -1, topLogprobs: [], textOffset: 0 }];
const FINISH = { reason: "stop", stopReason: "END" } as const;

Deno.test("chatChoices() opens with the role and closes with an empty delta", () => {
  const writer = chatChoices({ text, hasLogprobs: false });
  assertEquals(writer.openingChoice(1), {
    index: 1,
    delta: { role: "assistant", content: "" },
    logprobs: null,
    finish_reason: null,
  });
  assertEquals(writer.textChoices({ index: 1, text: "H", tokenIds: [72], scored: SCORED })[0], {
    index: 1,
    delta: { content: "H" },
    logprobs: null,
    finish_reason: null,
  });
  assertEquals(writer.finishChoice(1, FINISH), {
    index: 1,
    delta: {},
    logprobs: null,
    finish_reason: "stop",
    stop_reason: "END",
  });
  assertEquals(writer.firstFields, {});
});

Deno.test("chatChoices() reports log-probabilities and token ids when asked for", () => {
  const promptTokenIds = Uint32Array.of(1, 2);
  const writer = chatChoices({ text, hasLogprobs: true, promptTokenIds });
  assertEquals(writer.firstFields, { prompt_token_ids: [1, 2] });
  assertEquals(
    writer.wholeChoice({ index: 0, text: "H", tokenIds: [72], scored: SCORED, finish: FINISH }),
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

import { assertEquals } from "@std/assert";
import { chatChoices } from "../../../src/http/openai/chat_choices.ts";
import { completionChoices } from "../../../src/http/openai/completion_choices.ts";
import { FakeText } from "../fake_text.ts";

const BASE = {
  text: new FakeText(),
  hasLogprobs: false,
  sendsTokenIds: false,
  prompts: [Uint32Array.of(1), Uint32Array.of(2, 3)],
  numSamples: 2,
};
const FINISH = { reason: "length", stopReason: null } as const;

Deno.test("completionChoices() opens with nothing unless the prompt is echoed or ids are sent", () => {
  assertEquals(completionChoices(BASE).openingChoice(0), undefined);
  const echoing = completionChoices({ ...BASE, echoedTexts: ["one", "two"] });
  assertEquals(echoing.openingChoice(3), {
    index: 3,
    text: "two",
    logprobs: null,
    finish_reason: null,
  });
  const sending = completionChoices({ ...BASE, sendsTokenIds: true });
  assertEquals(sending.openingChoice(1)?.prompt_token_ids, [1]);
});

Deno.test("completionChoices() puts the echoed prompt of the right sample before the text", () => {
  const writer = completionChoices({ ...BASE, echoedTexts: ["one", "two"], sendsTokenIds: true });
  const whole = { text: "!", tokenIds: [33], scored: [], finish: FINISH };
  assertEquals(writer.wholeChoice({ index: 1, ...whole }).text, "one!");
  assertEquals(writer.wholeChoice({ index: 2, ...whole }), {
    index: 2,
    text: "two!",
    logprobs: null,
    finish_reason: "length",
    stop_reason: null,
    prompt_token_ids: [2, 3],
    token_ids: [33],
  });
});

Deno.test("completionChoices() goes on from the prompt, a chat begins a turn of its own", () => {
  assertEquals(completionChoices(BASE).continuesPrompt, true);
  assertEquals(chatChoices({ text: BASE.text, hasLogprobs: false }).continuesPrompt, false);
});

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import {
  refuseUnsupported,
  UNSUPPORTED_IN_CHAT,
  UNSUPPORTED_IN_COMPLETIONS,
} from "../../src/http/unsupported_fields.ts";

const TOOL = { type: "function", function: { name: "f" } };

Deno.test("refuseUnsupported() names a field whose value asks for something", () => {
  const bodies: Record<string, unknown>[] = [
    { frequency_penalty: 0.5 },
    { presence_penalty: -1 },
    { repetition_penalty: 1.1 },
    { logit_bias: { "5": -100 } },
    { logit_bias: [[5, false]] },
    { tools: [TOOL] },
    { tool_choice: "required" },
    { response_format: { type: "json_object" } },
    { response_format: "json" },
    { best_of: 2 },
    { best_of: 1, n: 2 },
    { length_penalty: 2 },
    { min_tokens: 1 },
    { prompt_logprobs: 0 },
    { echo: true },
    { chat_template: "{{ messages }}" },
    { chat_template_kwargs: { enable_thinking: false } },
    { modalities: ["text", "audio"] },
    { structured_outputs: { regex: "a" } },
    { reasoning_effort: "high" },
  ];
  for (const body of bodies) {
    const name = Object.keys(body)[0]!;
    const { data } = assertThrows(() => refuseUnsupported(body, UNSUPPORTED_IN_CHAT), RequestError);
    assertEquals([data.status, data.code, data.param], [400, "unsupported_parameter", name]);
    assertStringIncludes(data.message, name);
  }
});

Deno.test("refuseUnsupported() lets values pass that ask for nothing", () => {
  const bodies: Record<string, unknown>[] = [
    { frequency_penalty: 0, presence_penalty: 0, repetition_penalty: 1, logit_bias: {} },
    { frequency_penalty: null, tools: null, response_format: null },
    { tools: [], tool_choice: "none", parallel_tool_calls: true },
    { response_format: { type: "text" }, modalities: ["text"], echo: false },
    { best_of: 3, n: 3 },
    { best_of: 1 },
    { min_tokens: 0, use_beam_search: false, length_penalty: 1 },
    { use_beam_search: true, length_penalty: 2 },
    { user: "me", metadata: {}, store: true, service_tier: "auto", never_heard_of: 1 },
  ];
  for (const body of bodies) refuseUnsupported(body, UNSUPPORTED_IN_CHAT);
});

Deno.test("refuseUnsupported() allows a completion's echo unless the prompt shall be scored", () => {
  refuseUnsupported({ echo: true }, UNSUPPORTED_IN_COMPLETIONS);
  refuseUnsupported({ echo: true, logprobs: null }, UNSUPPORTED_IN_COMPLETIONS);
  refuseUnsupported({ echo: false, logprobs: 1 }, UNSUPPORTED_IN_COMPLETIONS);
  const { data } = assertThrows(
    () => refuseUnsupported({ echo: true, logprobs: 1 }, UNSUPPORTED_IN_COMPLETIONS),
    RequestError,
  );
  assertEquals(data.param, "echo");
});

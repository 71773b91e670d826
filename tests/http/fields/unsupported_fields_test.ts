import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import {
  refuseUnsupported,
  UNSUPPORTED_IN_CHAT,
  UNSUPPORTED_IN_COMPLETIONS,
} from "../../../src/http/fields/unsupported_fields.ts";

const TOOL = { type: "function", function: { name: "f" } };

Deno.test("refuseUnsupported() names a field whose value asks for something", () => {
  const bodies: Record<string, unknown>[] = [
    { bad_words: ["x"] },
    { typical_p: 0.9 },
    { length_penalty: 1.1 },
    { logits_processors: { "5": -100 } },
    { functions: [TOOL] },
    { function_call: { name: "f" } },
    { best_of: 2 },
    { best_of: 1, n: 2 },
    { length_penalty: 2 },
    { num_ctx: 4096 },
    { options: { temperature: 0 } },
    { samplers: ["top_k"] },
    { n_probs: 3 },
    { echo: true },
    { chat_template: "{{ messages }}" },
    { modalities: ["text", "audio"] },
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
    { mirostat: 0, typical_p: 1, bad_words: [], logits_processors: {} },
    { guided_json: null },
    { options: {}, n_probs: 0, top_n_sigma: -1, lora: [] },
    { functions: [], function_call: "none", parallel_tool_calls: true },
    { modalities: ["text"], echo: false },
    { best_of: 3, n: 3 },
    { best_of: 1 },
    { use_beam_search: false, length_penalty: 1 },
    { use_beam_search: true, length_penalty: 2 },
    { user: "me", metadata: {}, store: true, service_tier: "auto", never_heard_of: 1 },
  ];
  for (const body of bodies) refuseUnsupported(body, UNSUPPORTED_IN_CHAT);
});

Deno.test("refuseUnsupported() takes llama.cpp's reach of penalties where there are none", () => {
  for (
    const body of [
      { repeat_last_n: 64 },
      { repeat_last_n: 64, repeat_penalty: 1 },
      { repeat_last_n: -1, repeat_penalty: 1.2 },
    ]
  ) refuseUnsupported(body, UNSUPPORTED_IN_COMPLETIONS);
  const { data } = assertThrows(
    () => refuseUnsupported({ repeat_last_n: 64, repeat_penalty: 1.1 }, UNSUPPORTED_IN_COMPLETIONS),
    RequestError,
  );
  assertEquals(data.param, "repeat_last_n");
});

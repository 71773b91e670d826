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
    { bad_words: ["x"] },
    { typical_p: 0.9 },
    { length_penalty: 1.1 },
    { logits_processors: { "5": -100 } },
    { functions: [TOOL] },
    { function_call: { name: "f" } },
    { best_of: 2 },
    { best_of: 1, n: 2 },
    { length_penalty: 2 },
    { prompt_logprobs: 0 },
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

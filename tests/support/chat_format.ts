import { assert, assertEquals } from "@std/assert";
import { z } from "zod";
import { Explanation } from "./explain_format.ts";

/** Chat completions as OpenAI's reference and this server's pages have them: nothing else passes. */

const Tokens = z.int().min(0);
const Usage = z.strictObject({
  prompt_tokens: Tokens,
  completion_tokens: Tokens,
  total_tokens: Tokens,
  prompt_tokens_details: z.strictObject({ cached_tokens: Tokens }),
  completion_tokens_details: z.strictObject({ reasoning_tokens: Tokens }).optional(),
});
const THOUGHTS = { reasoning_content: z.string().optional(), reasoning: z.string().optional() };
const FinishReason = z.enum(["stop", "length", "tool_calls"]);
const StopReason = z.union([z.string(), z.int()]).nullable();
const ENVELOPE = {
  id: z.string().regex(/^chatcmpl-\w+$/),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
};

/** A whole answer. */
export const ChatCompletion = z.strictObject({
  ...ENVELOPE,
  object: z.literal("chat.completion"),
  choices: z.array(z.strictObject({
    index: z.int(),
    message: z.strictObject({
      role: z.literal("assistant"),
      content: z.string().nullable(),
      refusal: z.null(),
      ...THOUGHTS,
      tool_calls: z.array(z.strictObject({
        id: z.string().min(1),
        type: z.literal("function"),
        function: z.strictObject({ name: z.string().min(1), arguments: z.string() }),
      })).min(1).optional(),
    }),
    logprobs: z.looseObject({}).nullable(),
    finish_reason: FinishReason,
    stop_reason: StopReason,
  })).min(1),
  usage: Usage,
  quire: Explanation.optional(),
});

const ToolDelta = z.union([
  z.strictObject({
    index: z.int(),
    id: z.string().min(1),
    type: z.literal("function"),
    function: z.strictObject({ name: z.string().min(1), arguments: z.literal("") }),
  }),
  z.strictObject({ index: z.int(), function: z.strictObject({ arguments: z.string() }) }),
]);

/** A chunk of a stream. */
export const ChatChunk = z.strictObject({
  ...ENVELOPE,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(z.strictObject({
    index: z.int(),
    delta: z.strictObject({
      role: z.literal("assistant").optional(),
      content: z.string().optional(),
      ...THOUGHTS,
      tool_calls: z.array(ToolDelta).length(1).optional(),
    }),
    logprobs: z.looseObject({}).nullable(),
    finish_reason: FinishReason.nullable(),
    stop_reason: StopReason.optional(),
  })).max(1),
  usage: Usage.nullable().optional(),
  quire: Explanation.optional(),
});

/**
 * Checks a stream as a whole: each chunk by itself, one id for all, and that each choice begins
 * with its role, has calls whose ids come first, and ends with a reason.
 */
export function checkChatStream(raw: readonly unknown[]): void {
  const chunks = raw.map((one) => ChatChunk.parse(one));
  assertEquals(new Set(chunks.map(({ id }) => id)).size, 1);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  for (const index of new Set(choices.map((choice) => choice.index))) {
    const own = choices.filter((choice) => choice.index === index);
    assertEquals(own.map(({ delta }) => delta.role), [
      "assistant",
      ...own.slice(1).map(() => undefined),
    ]);
    const reasons = own.map(({ finish_reason }) => finish_reason);
    assert(reasons.at(-1) !== null && reasons.slice(0, -1).every((reason) => reason === null));
    const seen = new Set<number>();
    for (const call of own.flatMap(({ delta }) => delta.tool_calls ?? [])) {
      assertEquals("id" in call, !seen.has(call.index));
      seen.add(call.index);
    }
    assertEquals([...seen], [...seen.keys()]);
  }
}

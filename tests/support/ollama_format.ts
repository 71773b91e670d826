import { z } from "zod";
import { Explanation } from "./explain_format.ts";

/**
 * Ollama's answers, as its documentation has them: each object of a stream is held to these by
 * itself. Fields that nobody declared fail.
 */
const HEAD = { model: z.string().min(1), created_at: z.iso.datetime() };
const LOGPROB = {
  token: z.string(),
  logprob: z.number().max(0),
  bytes: z.array(z.int().min(0).max(255)),
};
const Logprobs = z.array(
  z.strictObject({ ...LOGPROB, top_logprobs: z.array(z.strictObject(LOGPROB)) }),
).min(1);
const Message = z.strictObject({
  role: z.literal("assistant"),
  content: z.string(),
  thinking: z.string().min(1).optional(),
  tool_calls: z.array(z.strictObject({
    id: z.string().min(1),
    function: z.strictObject({
      index: z.int().min(0),
      name: z.string().min(1),
      arguments: z.record(z.string(), z.unknown()),
    }),
  })).min(1).optional(),
});
const COUNT = z.int().min(0);
const END = {
  done: z.literal(true),
  done_reason: z.enum(["stop", "length"]),
  total_duration: COUNT,
  load_duration: COUNT,
  prompt_eval_count: COUNT,
  prompt_eval_cached_count: COUNT,
  prompt_eval_duration: COUNT,
  eval_count: COUNT,
  eval_duration: COUNT,
  quire: Explanation.optional(),
};
const LOADED = { done: z.literal(true), done_reason: z.literal("load") };
const OPEN = { done: z.literal(false), logprobs: Logprobs.optional() };
const WHOLE = { ...END, logprobs: Logprobs.optional() };

const CHAT = { ...HEAD, message: Message };
const GENERATE = { ...HEAD, response: z.string(), thinking: z.string().min(1).optional() };

/** Objects of `/api/chat`. */
export const OllamaChat = z.union([
  z.strictObject({ ...CHAT, ...OPEN }),
  z.strictObject({ ...CHAT, ...WHOLE }),
  z.strictObject({ ...CHAT, ...LOADED }),
]);
/** Objects of `/api/generate`. */
export const OllamaGenerate = z.union([
  z.strictObject({ ...GENERATE, ...OPEN }),
  z.strictObject({ ...GENERATE, ...WHOLE }),
  z.strictObject({ ...GENERATE, ...LOADED }),
]);
/** Errors, of streams too. */
export const OllamaError = z.strictObject({ error: z.string().min(1) });

/** The objects of a stream, each held to `schema`; only the last one is done. */
export function readLines<S extends z.ZodType<{ done: boolean }>>(
  text: string,
  schema: S,
): z.output<S>[] {
  const objects = text.trimEnd().split("\n").map((line) => schema.parse(JSON.parse(line)));
  const done = objects.map((object) => object.done);
  if (done.indexOf(true) !== done.length - 1) throw new Error(`done at ${done.indexOf(true)}`);
  return objects;
}

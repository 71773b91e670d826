import { z } from "zod";
import { MISS_CAUSES } from "../../src/core/miss_report.ts";

const COUNT = z.int().min(0);

/** What a prompt found in the prefix cache, as `explain` tells it. */
export const ExplainedPrompt = z.strictObject({
  index: COUNT,
  prompt_tokens: COUNT.min(1),
  cached_tokens: COUNT,
  expected_tokens: COUNT,
  cause: z.literal(Object.keys(MISS_CAUSES)).nullable(),
  text: z.string().min(1),
  divergence: z.strictObject({
    position: COUNT,
    message: COUNT.optional(),
    role: z.enum(["system", "user", "assistant", "tool"]).optional(),
    field: z.string().min(1).optional(),
    before: z.string(),
    old: z.string(),
    new: z.string(),
  }).optional(),
  evicted: z.strictObject({ tokens: COUNT.min(1), ms_ago: COUNT }).optional(),
}).refine(({ cached_tokens, expected_tokens }) => cached_tokens <= expected_tokens);
export type ExplainedPrompt = z.output<typeof ExplainedPrompt>;

const MS = z.number().min(0).nullable();

/** The way of a sequence, as `explain` tells it. */
const ExplainedTrace = z.strictObject({
  index: COUNT,
  state: z.enum(["waiting", "running", "finished"]),
  queue_ms: MS,
  prefill_ms: MS,
  decode_ms: MS,
  cached_tokens: COUNT,
  chunks: COUNT,
  chunk_tokens: COUNT,
  preemptions: COUNT,
  finish_reason: z.enum(["stop", "length", "abort", "error"]).nullable(),
  lines: z.array(z.string().min(1)),
});

/** The field `quire` of an answer to a request with `explain`. */
export const Explanation = z.strictObject({
  decisions: z.array(z.looseObject({ type: z.string(), step: COUNT, text: z.string().min(1) })),
  prompts: z.array(ExplainedPrompt),
  traces: z.array(ExplainedTrace),
});

/** Strict schemas of answers: a field that is missing, of another type or not named fails. */
import { z } from "zod";
import { Explanation } from "./explain_format.ts";

const Count = z.int().min(0);

/** `usage` of completions. */
export const CompletionUsage = z.strictObject({
  prompt_tokens: Count,
  completion_tokens: Count,
  total_tokens: Count,
  prompt_tokens_details: z.strictObject({ cached_tokens: Count }),
});

/** `choices[].logprobs` of completions: parallel arrays; only a prompt's first token has null. */
export const CompletionLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().max(0).nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number().max(0)).nullable()),
  text_offset: z.array(Count),
}).refine(({ tokens, token_logprobs, top_logprobs, text_offset }) =>
  [token_logprobs, top_logprobs, text_offset].every(({ length }) => length === tokens.length)
).refine(({ token_logprobs, top_logprobs }) =>
  token_logprobs.every((logprob, i) =>
    (logprob === null) === (top_logprobs[i] === null) && (logprob !== null || i === 0)
  )
);

/** vLLM's `prompt_logprobs`. */
export const PromptLogprobs = z.array(
  z.record(
    z.string().regex(/^\d+$/),
    z.strictObject({
      logprob: z.number().max(0),
      rank: z.int().min(1).nullable(),
      decoded_token: z.string(),
    }),
  ).nullable(),
).refine((all) => all.every((one, i) => (one === null) === (i === 0)));

/** llama.cpp's `timings`. */
export const Timings = z.strictObject({
  cache_n: Count,
  prompt_n: Count,
  prompt_ms: z.number().min(0),
  prompt_per_token_ms: z.number().min(0),
  prompt_per_second: z.number().min(0),
  predicted_n: Count,
  predicted_ms: z.number().min(0),
  predicted_per_token_ms: z.number().min(0),
  predicted_per_second: z.number().min(0),
});

/** An answer of `/v1/completions` in one piece. */
export const CompletionAnswer = z.strictObject({
  id: z.string().startsWith("cmpl-"),
  object: z.literal("text_completion"),
  created: Count,
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(z.strictObject({
    index: Count,
    text: z.string(),
    logprobs: CompletionLogprobs.nullable(),
    finish_reason: z.enum(["stop", "length", "abort"]),
    stop_reason: z.union([z.string(), z.int()]).nullable(),
    prompt_token_ids: z.array(Count).optional(),
    token_ids: z.array(Count).optional(),
    prompt_logprobs: PromptLogprobs.nullable().optional(),
  })),
  usage: CompletionUsage,
  quire: Explanation.optional(),
  timings: Timings.optional(),
});

/** `usage` where nothing is generated. */
export const PromptUsage = z.strictObject({ prompt_tokens: Count, total_tokens: Count })
  .refine(({ prompt_tokens, total_tokens }) => prompt_tokens === total_tokens);

/** An answer of `/v1/embeddings`: all vectors as numbers, or all as base64. */
export const EmbeddingsAnswer = z.strictObject({
  object: z.literal("list"),
  data: z.array(z.strictObject({
    object: z.literal("embedding"),
    index: Count,
    embedding: z.union([z.array(z.number()).min(1), z.base64()]),
  })).min(1),
  model: z.string(),
  usage: PromptUsage,
}).refine(({ data }) => data.every(({ index }, i) => index === i));

/** An answer of `/v1/rerank`, best first. */
export const RerankAnswer = z.strictObject({
  id: z.string().startsWith("rerank-"),
  object: z.literal("list"),
  model: z.string(),
  results: z.array(z.strictObject({
    index: Count,
    relevance_score: z.number().min(0).max(1),
    document: z.strictObject({ text: z.string() }).optional(),
  })),
  usage: PromptUsage,
}).refine(({ results }) =>
  results.every((one, i) => i === 0 || one.relevance_score <= results[i - 1]!.relevance_score)
);

/** An answer of `/v1/chat/completions/render`. */
export const RenderAnswer = z.strictObject({
  object: z.literal("chat.completion.prompt"),
  model: z.string(),
  prompt: z.string(),
  prompt_token_ids: z.array(Count),
  count: Count,
  max_model_len: Count,
}).refine(({ prompt_token_ids, count }) => prompt_token_ids.length === count);

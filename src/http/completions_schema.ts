import { z } from "zod";
import { RequestError } from "../core/errors.ts";
import type { TokenId } from "../core/ids.ts";
import { MAX_LOGPROBS } from "../core/sampling_params.ts";
import { SAMPLING_FIELDS } from "./sampling_fields.ts";
import { parseTokenIds } from "./token_ids.ts";

/** Most prompts of one request, as in vLLM. */
const MAX_PROMPTS = 1024;

/** Body of `POST /v1/completions`; fields not named here are accepted and ignored. */
export const CompletionsRequest = z.looseObject({
  ...SAMPLING_FIELDS,
  prompt: z.union([z.string(), z.array(z.unknown()).min(1)]),
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
  add_special_tokens: z.boolean().nullish(),
});
export type CompletionsRequest = z.output<typeof CompletionsRequest>;

/** One prompt: text, or the ids of one. */
export type Prompt = string | readonly TokenId[];

/** The number of prompts of a request, without a check of any; a list of ids is one prompt. */
export function numPromptsOf({ prompt }: CompletionsRequest): number {
  return typeof prompt === "string" || typeof prompt[0] === "number" ? 1 : prompt.length;
}

/**
 * The prompts of a request: one text or list of ids, or a list of those.
 *
 * @throws {RequestError} on a prompt that is neither, and on an id outside `[0, vocabSize)`.
 */
export function promptsOf({ prompt }: CompletionsRequest, vocabSize: number): readonly Prompt[] {
  if (typeof prompt === "string") return [prompt];
  if (typeof prompt[0] === "number") return [parseTokenIds(prompt, "prompt", vocabSize)];
  if (prompt.length > MAX_PROMPTS) {
    throw new RequestError(
      `prompt must be an array of at most ${MAX_PROMPTS} elements, got an array of ${prompt.length} elements`,
      { code: "invalid_value", param: "prompt" },
    );
  }
  return prompt.map((one, i) => {
    if (typeof one === "string") return one;
    if (Array.isArray(one)) return parseTokenIds(one, `prompt.${i}`, vocabSize);
    throw new RequestError(
      `prompt.${i} must be a string or an array of token ids, got ${typeof one}`,
      { code: "invalid_type", param: `prompt.${i}` },
    );
  });
}

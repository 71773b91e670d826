import { z } from "zod";
import { MAX_LOGPROBS } from "../../core/sampling_params.ts";
import { PromptField } from "../prompt/prompt_field.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";

/** Body of `POST /v1/completions`; fields not named here are accepted and ignored. */
export const CompletionsRequest = z.looseObject({
  ...SAMPLING_FIELDS,
  prompt: PromptField,
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
  add_special_tokens: z.boolean().nullish(),
});
export type CompletionsRequest = z.output<typeof CompletionsRequest>;

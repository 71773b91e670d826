import { RequestError } from "./errors.ts";

/** The field that a prompt came from, for the text and the `param` of a refusal. */
export type PromptSource = "messages" | "prompt" | "input" | "documents";

/**
 * Tokens that a prompt leaves for its answer in the model's context: the one rule for the length of
 * a prompt, which the HTTP door and the engine share.
 *
 * @throws {RequestError} 400 `context_length_exceeded` when there is no room for one token, and
 * `invalid_value` when the prompt is empty.
 */
export function answerRoom(
  numPromptTokens: number,
  source: PromptSource,
  maxModelLen: number,
): number {
  if (numPromptTokens === 0) {
    throw new RequestError(`${source} must hold at least one token, got none`, {
      code: "invalid_value",
      param: source,
    });
  }
  const room = maxModelLen - numPromptTokens;
  if (room >= 1) return room;
  throw promptTooLong(source, numPromptTokens, maxModelLen, `${numPromptTokens} tokens`);
}

/**
 * Refuses a prompt that is only read when it does not fit the model's context, which it may fill.
 *
 * @throws {RequestError} as {@link answerRoom}.
 */
export function checkPromptFits(
  numPromptTokens: number,
  source: PromptSource,
  maxModelLen: number,
): void {
  if (numPromptTokens !== maxModelLen) answerRoom(numPromptTokens, source, maxModelLen);
}

/** The refusal of a prompt of `length`, in words, which has `numTokens` tokens at least. */
export function promptTooLong(
  source: PromptSource,
  numTokens: number,
  maxModelLen: number,
  length: string,
): RequestError {
  return contextExceeded(
    `This model's maximum context length is ${maxModelLen} tokens. However, your ${source} resulted ` +
      `in ${length}, which leaves no room for an answer. Please reduce the length of the ${source}.`,
    source,
    { n_prompt_tokens: numTokens, n_ctx: maxModelLen },
  );
}

/** The refusal of an answer of `maxTokens` behind a prompt that leaves less room. */
export function answerTooLong(
  source: PromptSource,
  numPromptTokens: number,
  maxModelLen: number,
  maxTokens: number,
): RequestError {
  const numAsked = numPromptTokens + maxTokens;
  return contextExceeded(
    `This model's maximum context length is ${maxModelLen} tokens. However, you requested ` +
      `${numAsked} tokens (${numPromptTokens} in the ${source}, ${maxTokens} in the completion). ` +
      `Please reduce the length of the ${source} or completion.`,
    source,
    { n_prompt_tokens: numPromptTokens, n_ctx: maxModelLen },
  );
}

function contextExceeded(
  message: string,
  param: PromptSource,
  details: { readonly n_prompt_tokens: number; readonly n_ctx: number },
): RequestError {
  return new RequestError(message, { code: "context_length_exceeded", param, details });
}

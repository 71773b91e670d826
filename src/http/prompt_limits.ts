import { ceilDiv } from "../base/math.ts";
import { RequestError } from "../core/errors.ts";

/** The field that a prompt came from, for the text and the `param` of a refusal. */
export type PromptSource = "messages" | "prompt";

/** The context a prompt and its output must fit in together. */
export interface ContextLimits {
  /** Tokens. */
  readonly maxModelLen: number;
  /** See `ServedModel.maxCharsPerToken`. */
  readonly maxCharsPerToken: number;
}

/**
 * Refuses a text that is too long for any tokenization to fit, without tokenizing it.
 *
 * @throws {RequestError} 400 `context_length_exceeded`; the tokens it names are a lower bound.
 */
export function checkPromptChars(
  numChars: number,
  source: PromptSource,
  { maxModelLen, maxCharsPerToken }: ContextLimits,
): void {
  const numTokens = ceilDiv(numChars, maxCharsPerToken);
  if (numTokens < maxModelLen) return;
  throw contextExceeded(source, numTokens, maxModelLen, `at least ${numTokens} tokens`);
}

/**
 * The number of tokens that a sequence may generate: the requested one, or else `fallback`, cut to
 * what the context leaves. A requested number is refused rather than cut.
 *
 * @throws {RequestError} 400 `context_length_exceeded` when prompt and output do not fit.
 */
export function fitMaxTokens(
  numPromptTokens: number,
  source: PromptSource,
  maxModelLen: number,
  asked: { readonly maxTokens: number | null | undefined; readonly fallback: number },
): number {
  if (numPromptTokens === 0) {
    throw new RequestError(`${source} must hold at least one token, got none`, {
      code: "invalid_value",
      param: source,
    });
  }
  const room = maxModelLen - numPromptTokens;
  if (room < 1) {
    throw contextExceeded(source, numPromptTokens, maxModelLen, `${numPromptTokens} tokens`);
  }
  const { maxTokens, fallback } = asked;
  if (maxTokens === undefined || maxTokens === null) return Math.min(fallback, room);
  if (maxTokens <= room) return maxTokens;
  throw overflow(
    `This model's maximum context length is ${maxModelLen} tokens. However, you requested ` +
      `${
        numPromptTokens + maxTokens
      } tokens (${numPromptTokens} in the ${source}, ${maxTokens} in the ` +
      `completion). Please reduce the length of the ${source} or completion.`,
    source,
    numPromptTokens,
    maxModelLen,
  );
}

function contextExceeded(
  source: PromptSource,
  numTokens: number,
  maxModelLen: number,
  length: string,
): RequestError {
  return overflow(
    `This model's maximum context length is ${maxModelLen} tokens. However, your ${source} resulted ` +
      `in ${length}, which leaves no room for an answer. Please reduce the length of the ${source}.`,
    source,
    numTokens,
    maxModelLen,
  );
}

function overflow(
  message: string,
  param: PromptSource,
  numPromptTokens: number,
  maxModelLen: number,
): RequestError {
  return new RequestError(message, {
    code: "context_length_exceeded",
    param,
    details: { n_prompt_tokens: numPromptTokens, n_ctx: maxModelLen },
  });
}

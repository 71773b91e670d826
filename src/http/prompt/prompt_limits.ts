import { ceilDiv } from "../../base/math.ts";
import {
  answerRoom,
  answerTooLong,
  checkPromptFits,
  type PromptSource,
  promptTooLong,
} from "../../core/context_limit.ts";
import type { Prompt } from "./prompt_field.ts";

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
  throw promptTooLong(source, numTokens, maxModelLen, `at least ${numTokens} tokens`);
}

/** The same for each text among prompts. */
export function checkTextChars(
  prompts: readonly Prompt[],
  source: PromptSource,
  limits: ContextLimits,
): void {
  for (const prompt of prompts) {
    if (typeof prompt === "string") checkPromptChars(prompt.length, source, limits);
  }
}

/**
 * The number of tokens that a sequence may generate: the requested one, or else `fallback`, cut to
 * what the context leaves, all of which -1 asks for. A requested number is refused rather than cut.
 *
 * @throws {RequestError} 400 `context_length_exceeded` when prompt and output do not fit.
 */
export function fitMaxTokens(
  numPromptTokens: number,
  source: PromptSource,
  maxModelLen: number,
  wanted: { readonly maxTokens: number | null | undefined; readonly fallback: number },
): number {
  const { maxTokens, fallback } = wanted;
  if (maxTokens === 0) {
    checkPromptFits(numPromptTokens, source, maxModelLen);
    return 0;
  }
  const room = answerRoom(numPromptTokens, source, maxModelLen);
  if (maxTokens === -1) return room;
  if (maxTokens === undefined || maxTokens === null) return Math.min(fallback, room);
  if (maxTokens <= room) return maxTokens;
  throw answerTooLong(source, numPromptTokens, maxModelLen, maxTokens);
}

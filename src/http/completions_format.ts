import type { TokenId } from "../core/ids.ts";
import { type AnswerFormat, saysSomething } from "./answer_format.ts";
import { completionLogprobs } from "./openai_logprobs.ts";
import type { ScoredToken } from "./sequence_text.ts";
import type { TextService } from "./services.ts";

/** The options of a completions request that shape its answer. */
export interface CompletionsFormatOptions {
  readonly text: TextService;
  readonly hasLogprobs: boolean;
  readonly sendsTokenIds: boolean;
  /** Token ids of each prompt. */
  readonly prompts: readonly Uint32Array[];
  /** Texts to put before the answers, one per prompt; absent without `echo`. */
  readonly echoedTexts?: readonly string[];
  /** Choices per prompt; choice `i` belongs to prompt `i / numSamples`. */
  readonly numSamples: number;
}

/** Answers of `/v1/completions`. */
export function completionsFormat(options: CompletionsFormatOptions): AnswerFormat {
  const { text: vocabulary, hasLogprobs, sendsTokenIds, prompts, echoedTexts, numSamples } =
    options;
  function logprobs(scored: readonly ScoredToken[]) {
    return hasLogprobs ? completionLogprobs(vocabulary, scored) : null;
  }
  function ids(tokenIds: readonly TokenId[]) {
    return sendsTokenIds ? { token_ids: tokenIds } : {};
  }
  function promptIds(index: number) {
    const prompt = prompts[Math.floor(index / numSamples)]!;
    return sendsTokenIds ? { prompt_token_ids: [...prompt] } : {};
  }
  function echoed(index: number): string {
    return echoedTexts?.[Math.floor(index / numSamples)] ?? "";
  }
  return {
    idPrefix: "cmpl-",
    object: "text_completion",
    chunkObject: "text_completion",
    firstFields: {},
    continuesPrompt: true,
    sendsTokenIds,
    openingChoice: (index) =>
      echoedTexts === undefined && !sendsTokenIds
        ? undefined
        : { index, text: echoed(index), logprobs: null, finish_reason: null, ...promptIds(index) },
    textChoices: (piece) => {
      if (!saysSomething(piece, sendsTokenIds)) return [];
      const { index, text, tokenIds, scored } = piece;
      return [{
        index,
        text,
        logprobs: logprobs(scored),
        finish_reason: null,
        ...ids(tokenIds),
      }];
    },
    finishChoice: (index, { reason, stopReason }) => ({
      index,
      text: "",
      logprobs: null,
      finish_reason: reason,
      stop_reason: stopReason,
    }),
    wholeChoice: ({ index, text, tokenIds, scored, finish }) => ({
      index,
      text: echoed(index) + text,
      logprobs: logprobs(scored),
      finish_reason: finish.reason,
      stop_reason: finish.stopReason,
      ...promptIds(index),
      ...ids(tokenIds),
    }),
  };
}

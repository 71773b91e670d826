import type { TokenId } from "../core/ids.ts";
import { type AnswerFormat, saysSomething } from "./answer_format.ts";
import {
  type CompletionLogprobs,
  type PromptLogprobsAsked,
  PromptReadings,
} from "./prompt_readings.ts";
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
  /** The log-probabilities of the prompts; absent: none. */
  readonly asked?: PromptLogprobsAsked;
}

/** Answers of `/v1/completions`. */
export function completionsFormat(options: CompletionsFormatOptions): AnswerFormat {
  const { text: vocabulary, hasLogprobs, sendsTokenIds, prompts, echoedTexts, numSamples } =
    options;
  const { asked: { echoed: numEchoed, listed: numListed } = {} } = options;
  const readings = new PromptReadings(
    vocabulary,
    prompts.map((tokens, i) => ({ tokens, text: echoedTexts?.[i] ?? "" })),
    numSamples,
  );
  function logprobs(index: number, scored: readonly ScoredToken[]) {
    if (!hasLogprobs) return null;
    const { length: numBefore } = echoed(index);
    return completionLogprobs(
      vocabulary,
      scored.map((one) => ({ ...one, textOffset: numBefore + one.textOffset })),
    );
  }
  function promptLogprobs(index: number) {
    return numEchoed === undefined ? undefined : readings.echoed(index, numEchoed);
  }
  function listed(index: number) {
    return numListed === undefined ? {} : { prompt_logprobs: readings.listed(index, numListed) };
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
    scoresStopToken: numEchoed !== undefined,
    observe: (piece) => readings.observe(piece),
    openingChoice: (index) =>
      echoedTexts === undefined && !sendsTokenIds ? undefined : {
        index,
        text: echoed(index),
        logprobs: promptLogprobs(index) ?? null,
        finish_reason: null,
        ...promptIds(index),
      },
    textChoices: (piece) => {
      if (!saysSomething(piece, sendsTokenIds)) return [];
      const { index, text, tokenIds, scored } = piece;
      return [{
        index,
        text,
        logprobs: logprobs(index, scored),
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
      logprobs: joined(promptLogprobs(index), logprobs(index, scored)),
      ...listed(index),
      finish_reason: finish.reason,
      stop_reason: finish.stopReason,
      ...promptIds(index),
      ...ids(tokenIds),
    }),
  };
}

/** A prompt's log-probabilities and those behind it. */
function joined(
  prompt: CompletionLogprobs | undefined,
  own: CompletionLogprobs | null,
): CompletionLogprobs | null {
  if (prompt === undefined || own === null) return own;
  return {
    tokens: [...prompt.tokens, ...own.tokens],
    token_logprobs: [...prompt.token_logprobs, ...own.token_logprobs],
    top_logprobs: [...prompt.top_logprobs, ...own.top_logprobs],
    text_offset: [...prompt.text_offset, ...own.text_offset],
  };
}

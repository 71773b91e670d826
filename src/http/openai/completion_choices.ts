import type { TokenId } from "../../core/ids.ts";
import { type ChoiceWriter, saysSomething } from "../answer/choice_writer.ts";
import {
  type CompletionLogprobs,
  type PromptLogprobsOptions,
  PromptReadings,
} from "../prompt/prompt_readings.ts";
import { completionLogprobs } from "./openai_logprobs.ts";
import type { ScoredToken, TextPiece } from "../answer/sequence_text.ts";
import type { TextPort } from "../text_port.ts";

/** The options of a completions request that shape its answer. */
export interface CompletionChoicesOptions {
  readonly text: TextPort;
  readonly hasLogprobs: boolean;
  readonly sendsTokenIds: boolean;
  /** Token ids of each prompt. */
  readonly prompts: readonly Uint32Array[];
  /** Texts to put before the answers, one per prompt; absent without `echo`. */
  readonly echoedTexts?: readonly string[];
  /** Choices per prompt; choice `i` belongs to prompt `i / numSamples`. */
  readonly numSamples: number;
  /** The log-probabilities of the prompts; absent: none. */
  readonly promptLogprobs?: PromptLogprobsOptions;
}

/** What of the options says how prompts are echoed and scored. */
type PromptParts = Pick<
  CompletionChoicesOptions,
  "text" | "hasLogprobs" | "prompts" | "echoedTexts" | "numSamples" | "promptLogprobs"
>;

/** The text and the log-probabilities of prompts, by the sequence that they stand before. */
function promptParts(options: PromptParts) {
  const { text: vocabulary, hasLogprobs, prompts, echoedTexts, numSamples, promptLogprobs = {} } =
    options;
  const texts = prompts.map((tokens, i) => ({ tokens, text: echoedTexts?.[i] ?? "" }));
  const readings = new PromptReadings(vocabulary, texts, numSamples);
  const echoed = (index: number) => texts[Math.floor(index / numSamples)]!.text;
  return {
    echoed,
    observe: (piece: TextPiece) => readings.observe(piece),
    logprobs: (index: number) =>
      promptLogprobs.echoed === undefined
        ? undefined
        : readings.echoed(index, promptLogprobs.echoed),
    listed: (index: number) =>
      promptLogprobs.listed === undefined
        ? {}
        : { prompt_logprobs: readings.listed(index, promptLogprobs.listed) },
    /** Those of an answer's own tokens, which go on where the prompt ends. */
    own: (index: number, scored: readonly ScoredToken[]) => {
      if (!hasLogprobs) return null;
      const { length } = echoed(index);
      const moved = scored.map((one) => ({ ...one, textOffset: length + one.textOffset }));
      return completionLogprobs(vocabulary, moved);
    },
  };
}

/** Answers of `/v1/completions`. */
export function completionChoices(options: CompletionChoicesOptions): ChoiceWriter {
  const { sendsTokenIds, prompts, echoedTexts, numSamples } = options;
  const prompt = promptParts(options);
  function ids(tokenIds: readonly TokenId[]) {
    return sendsTokenIds ? { token_ids: tokenIds } : {};
  }
  function promptIds(index: number) {
    const tokens = prompts[Math.floor(index / numSamples)]!;
    return sendsTokenIds ? { prompt_token_ids: [...tokens] } : {};
  }
  return {
    idPrefix: "cmpl-",
    object: "text_completion",
    chunkObject: "text_completion",
    firstFields: {},
    continuesPrompt: true,
    sendsTokenIds,
    scoresStopToken: options.promptLogprobs?.echoed !== undefined,
    observe: prompt.observe,
    openingChoice: (index) =>
      echoedTexts === undefined && !sendsTokenIds ? undefined : {
        index,
        text: prompt.echoed(index),
        logprobs: prompt.logprobs(index) ?? null,
        finish_reason: null,
        ...promptIds(index),
      },
    textChoices: (piece) => {
      if (!saysSomething(piece, sendsTokenIds)) return [];
      const { index, text, tokenIds, scored } = piece;
      return [{
        index,
        text,
        logprobs: prompt.own(index, scored),
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
      text: prompt.echoed(index) + text,
      logprobs: joined(prompt.logprobs(index), prompt.own(index, scored)),
      ...prompt.listed(index),
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

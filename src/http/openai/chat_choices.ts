import type { TokenId } from "../../core/ids.ts";
import { type ChoiceWriter, saysSomething } from "../answer/choice_writer.ts";
import { chatLogprobs } from "./openai_logprobs.ts";
import type { ScoredToken } from "../answer/sequence_text.ts";
import type { TextPort } from "../text_port.ts";

/** The options of a chat request that shape its answer. */
export interface ChatChoicesOptions {
  readonly text: TextPort;
  readonly hasLogprobs: boolean;
  /** Present when token ids are to be reported. */
  readonly promptTokenIds?: Uint32Array;
}

/** Answers of `/v1/chat/completions`. */
export function chatChoices(options: ChatChoicesOptions): ChoiceWriter {
  const { text: vocabulary, hasLogprobs, promptTokenIds } = options;
  const sendsTokenIds = promptTokenIds !== undefined;
  function logprobs(scored: readonly ScoredToken[]) {
    return hasLogprobs ? chatLogprobs(vocabulary, scored) : null;
  }
  function ids(tokenIds: readonly TokenId[]) {
    return sendsTokenIds ? { token_ids: tokenIds } : {};
  }
  return {
    idPrefix: "chatcmpl-",
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    firstFields: sendsTokenIds ? { prompt_token_ids: [...promptTokenIds] } : {},
    continuesPrompt: false,
    sendsTokenIds,
    openingChoice: (index) => ({
      index,
      delta: { role: "assistant", content: "" },
      logprobs: null,
      finish_reason: null,
    }),
    textChoices: (piece) => {
      if (!saysSomething(piece, sendsTokenIds)) return [];
      const { index, text, tokenIds, scored } = piece;
      return [{
        index,
        delta: { content: text },
        logprobs: logprobs(scored),
        finish_reason: null,
        ...ids(tokenIds),
      }];
    },
    finishChoice: (index, { reason, stopReason }) => ({
      index,
      delta: {},
      logprobs: null,
      finish_reason: reason,
      stop_reason: stopReason,
    }),
    wholeChoice: ({ index, text, tokenIds, scored, finish }) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: logprobs(scored),
      finish_reason: finish.reason,
      stop_reason: finish.stopReason,
      ...ids(tokenIds),
    }),
  };
}

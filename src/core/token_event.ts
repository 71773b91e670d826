import type { TokenLogprob } from "./batch.ts";
import type { ErrorData } from "./errors.ts";
import type { RequestId, TokenId } from "./ids.ts";
import type { EvictedPrefix } from "./miss_report.ts";
import type { PromptReport } from "./prompt_readout.ts";

/**
 * Why a sequence ended. `abort`: the client asked or went away. `error`: see `TokenEvent.error`.
 */
export type FinishReason = "stop" | "length" | "abort" | "error";

/** What the engine reports of one sequence in one step. */
export interface TokenEvent {
  readonly requestId: RequestId;
  /** Which of the request's sequences, from 0. */
  readonly index: number;
  /** The token drawn; absent only on an end without one (abort, error, `maxTokens` of 0). */
  readonly token?: TokenId;
  readonly logprob?: number;
  readonly topLogprobs?: readonly TokenLogprob[];
  /** What was read of the prompt; with the first token, or the end of a sequence without one. */
  readonly prompt?: PromptReport;
  /**
   * Prompt tokens whose KV the first admission found in the prefix cache or computed by a sibling;
   * on the sequence's first event.
   */
  readonly numCachedTokens?: number;
  /** What of the prompt had been cached behind those and was evicted of late; with those. */
  readonly evicted?: EvictedPrefix;
  /**
   * Present on the sequence's last event. A stop token is reported in `token` with reason `stop`.
   */
  readonly finishReason?: FinishReason;
  /** Present with reason `error`. */
  readonly error?: ErrorData;
}

import type { SchedulingSettings } from "../core/engine_config.ts";
import type { TokenMatchers } from "../core/token_matcher.ts";
import type { DecisionListener } from "../kvcache/prefix/cache_listener.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";

/** The limits of a scheduler, each at least 1, and how it schedules within them. */
export interface SchedulerOptions extends SchedulingSettings {
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /**
   * Most tokens of a sequence whose KV is computed for a short context; a longer one is computed
   * anew for a long one (`src/core/long_context.ts`). Absent: there is one kind of KV.
   */
  readonly shortContextLen?: number;
  /** Tokens that the model has; absent: those of prompts are not checked. */
  readonly vocabSize?: number;
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  /** Most sequences of one owner waiting for admission, and so the most of one request. */
  readonly maxNumQueuedSeqs: number;
  /** Follow sequences through grammars; without them, no request may have one. */
  readonly matchers?: TokenMatchers;
  /** Is told why sequences wait, beside the block manager's own decisions. */
  readonly onDecision?: DecisionListener;
  /** Is shown each prompt as it is first admitted, siblings that share one only once. */
  readonly onPrompt?: TokensListener;
  /** Is shown the computed tokens of each sequence as it gives its blocks back for good. */
  readonly onEnd?: TokensListener;
}

/** Is shown the tokens of a sequence and the scope they may be found in (empty: the open one). */
export type TokensListener = (scope: string, tokens: Uint32Array) => void;

/** The scope and the tokens of a sequence, or of a group, as listeners take them. */
export function seenBy(
  { caching, allTokens }: { readonly caching: CachingOptions; readonly allTokens: Uint32Array },
): Parameters<TokensListener> {
  return [caching.scope ?? "", allTokens];
}

import type { BeamSearchParams } from "./beam_search_params.ts";
import type { CompiledGrammar } from "./compiled_grammar.ts";
import type { RequestId } from "./ids.ts";
import type { PromptReadout } from "./prompt_readout.ts";
import type { SamplingParams } from "./sampling_params.ts";
import type { TokenEvent } from "./token_event.ts";

/** One sequence to generate: a prompt of at least one token id, each below the vocabulary size. */
export interface SequenceRequest {
  readonly prompt: Uint32Array;
  readonly params: SamplingParams;
  /** What its tokens have to match; absent: anything. Not for the answers of a search. */
  readonly grammar?: CompiledGrammar;
  /** What is read of the prompt itself; absent: nothing. Not for the answers of a search. */
  readonly readout?: PromptReadout;
}

/** How firmly a request's blocks stay in the prefix cache. */
export interface CacheRetention {
  /** From 0, first to be evicted, to 100; others have 35. */
  readonly priority: number;
  /** How long that priority holds, in milliseconds; absent means until the block is evicted. */
  readonly durationMs?: number;
}

/** What had come of a sequence when the engine that generated it was lost. */
export interface ResumedSequence {
  /** The tokens that it has drawn and reported; its next draw is that behind them. */
  readonly tokens: Uint32Array;
  /** Whether it has reported its end, so that nothing is left to do. */
  readonly hasEnded: boolean;
}

/** What had come of a request when the engine that it was in was lost. */
export interface ResumedRequest {
  /** One per sequence of the request, in their order; at least one has not ended. */
  readonly sequences: readonly ResumedSequence[];
  /** Milliseconds since the request first came; its timeout counts from then. */
  readonly elapsedMs: number;
}

/** One request: all its sequences are accepted, or none is. */
export interface GenerationRequest {
  readonly id: RequestId;
  readonly sequences: readonly SequenceRequest[];
  /**
   * Each run of `width` identical sequences is one beam search: they are its answers, best first,
   * and all their events come at its end. Absent: sequences draw.
   */
  readonly beamSearch?: BeamSearchParams;
  /**
   * The cache scope: blocks are found only within the scope that cached them. The server derives it
   * from the API key and the request's `cache_salt`; absent is the scope of all requests that have
   * neither.
   */
  readonly cacheScope?: string;
  /**
   * The client as an opaque name: owners take turns at admission, and each has a queue limit of its
   * own. Requests without a name form one owner together.
   */
  readonly owner?: string;
  /**
   * Its owner's: those that wait are admitted before the ones of a lower; default: 0. All requests
   * of one owner have the same.
   */
  readonly ownerPriority?: number;
  /**
   * Its own, among requests whose owners have the same priority, a higher one first; default: 0.
   * Others are refused but under the policy `priority`. (vLLM's `priority`: there a lower one is
   * first.)
   */
  readonly requestPriority?: number;
  /** Milliseconds after which it ends with an error, waiting or running; absent: never. */
  readonly timeoutMs?: number;
  /**
   * Whether the server itself makes the request, to fill the cache; it is left out of the
   * statistics of look-ups.
   */
  readonly isReheat?: boolean;
  /** How firmly its blocks stay cached; only the eviction policy `priority` uses it. */
  readonly cacheRetention?: CacheRetention;
  /** Present where another engine had it before, which was lost: it goes on where it stopped. */
  readonly resumed?: ResumedRequest;
}

/** An accepted request in flight. */
export interface Generation {
  /**
   * The request's token events in order, one array per engine step that touched it; ends after
   * every sequence has reported a `finishReason`. Leaving the loop early aborts what still runs.
   */
  readonly events: AsyncIterable<readonly TokenEvent[]>;
  /**
   * Stops sequence `index` (or all of them); their blocks are free at the next step. Idempotent.
   */
  abort(index?: number): void;
}

import { InvariantError } from "../base/invariant.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { RequestId, SequenceId, TokenId } from "../core/ids.ts";
import type { EvictedPrefix } from "../core/miss_report.ts";
import type { TokenMatcher } from "../core/token_matcher.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";
import { LogitAdjuster } from "./logit_adjuster.ts";
import { PromptReader } from "./prompt_reader.ts";

/**
 * Most room for outputs before the tokens are first copied; most answers of a chat fit. Less where
 * no more may be drawn.
 */
const INITIAL_OUTPUT_CAPACITY = 256;

/** Waiting for admission, holding a block table, or ended. A preempted sequence waits again. */
export type SequenceState = "waiting" | "running" | "finished";

/** The identity of a sequence: its number in this isolate and its index in a request. */
export interface SequenceIdentity {
  /** Also the order of arrival: a later sequence has a higher id. */
  readonly id: SequenceId;
  readonly requestId: RequestId;
  /** Which of the request's sequences, from 0. */
  readonly index: number;
  /** Index of the request's first sequence with the same prompt; default: its own. */
  readonly promptIndex?: number;
  /** Its owner; requests without one share the default owner. */
  readonly owner?: string | undefined;
  /** Its owner's priority, a higher one first; default: 0. */
  readonly ownerPriority?: number;
  /** The request's own priority, a higher one first; default: 0. */
  readonly requestPriority?: number;
  /** When its group ends with an error; default: never. */
  readonly deadlineMs?: number | undefined;
  /** How long that is after its arrival. */
  readonly timeoutMs?: number | undefined;
  /** Default: the scope of requests that name none. */
  readonly caching?: CachingOptions;
  /** Whether its look-ups are the server's own; default: false. */
  readonly isReheat?: boolean;
}

/** One answer of a request, as its events name it. */
export interface Answer {
  readonly requestId: RequestId;
  /** Which of the request's sequences, from 0. */
  readonly index: number;
  /** Prompt tokens that the first admission found computed, in the prefix cache or by a sibling. */
  numCachedTokens: number;
  /** What it found evicted of late behind those; absent for nothing. */
  evicted?: EvictedPrefix;
  /** Whether an event of this answer has been reported. */
  hasReported: boolean;
}

/**
 * One growing list of token ids, prompt and output, and how much of it is in the KV cache.
 *
 *     |------- prompt -------|--- output ---|
 *     |--- numComputedTokens ---|- to do ---|      0 <= numComputedTokens < numTokens
 *
 * The newest token is never computed yet: its KV is written in the step that draws its successor,
 * or with `maxTokens` of 0 ends the sequence. The scheduler owns the sequence and is the only one
 * to change `state` and `numComputedTokens`.
 */
export class Sequence {
  readonly id: SequenceId;
  readonly requestId: RequestId;
  readonly index: number;
  /** Its scope says whether its KV is computed for a long context (`src/core/long_context.ts`). */
  caching: CachingOptions;
  readonly params: SequenceRequest["params"];
  readonly numPromptTokens: number;
  /** Penalties, biases and bans of its draws; absent for most. */
  readonly adjuster: LogitAdjuster | undefined;
  /** Follows it through its grammar; absent where it has none. */
  readonly matcher: TokenMatcher | undefined;
  /** Reads its prompt as it is computed; absent for most. */
  readonly reader: PromptReader | undefined;
  state: SequenceState = "waiting";
  /** Leading positions whose KV is in the pool; 0 whenever the sequence waits. */
  numComputedTokens = 0;
  /** Leading positions whose KV was in the pool before a preemption. */
  numTokensOnceComputed = 0;
  /** Positions at which its chunks are to end, ascending; set at each admission. */
  chunkEnds: readonly number[] = [];
  /** Entries `[0, #numTokens)` are live. */
  #tokens: Uint32Array;
  #numTokens: number;

  constructor(identity: SequenceIdentity, request: SequenceRequest, matcher?: TokenMatcher) {
    this.id = identity.id;
    this.requestId = identity.requestId;
    this.index = identity.index;
    this.caching = identity.caching ?? {};
    this.params = request.params;
    this.numPromptTokens = request.prompt.length;
    this.#numTokens = request.prompt.length;
    const capacity = Math.min(INITIAL_OUTPUT_CAPACITY, request.params.maxTokens);
    this.#tokens = new Uint32Array(request.prompt.length + capacity);
    this.#tokens.set(request.prompt);
    this.adjuster = LogitAdjuster.create(request.params, request.prompt, matcher);
    this.matcher = matcher;
    const { readout, prompt } = request;
    this.reader = readout && new PromptReader(readout, prompt);
  }

  /** Prompt and output tokens together. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Tokens drawn so far; also the index of the next draw. */
  get numOutputTokens(): number {
    return this.#numTokens - this.numPromptTokens;
  }

  /** Tokens whose KV is not in the pool; at least 1. */
  get numUncomputedTokens(): number {
    return this.#numTokens - this.numComputedTokens;
  }

  /** The position at which its next chunk is to end at the latest. */
  get nextChunkEnd(): number {
    return this.chunkEnds.find((stop) => stop > this.numComputedTokens) ?? Infinity;
  }

  /** All tokens so far, without a copy; valid until the next `append`, and not to be written. */
  get allTokens(): Uint32Array {
    return this.#tokens.subarray(0, this.#numTokens);
  }

  /** A copy of the tokens drawn so far. */
  get outputs(): Uint32Array {
    return this.#tokens.slice(this.numPromptTokens, this.#numTokens);
  }

  /**
   * As {@link allTokens}, perhaps with more behind them: without a new view, for callers that pass
   * the number along.
   */
  get tokenStore(): Uint32Array {
    return this.#tokens;
  }

  /**
   * The tokens at positions `[start, end)`, which never change: a view, which takes a fraction of
   * the time of a copy. Not to be written.
   */
  tokens(start: number, end: number): Uint32Array {
    if (end > this.#numTokens) {
      throw new InvariantError(`position ${end} of ${this.#numTokens} tokens`);
    }
    return this.#tokens.subarray(start, end);
  }

  /** Its blocks have been taken back. */
  forgetComputed(): void {
    this.numTokensOnceComputed = Math.max(this.numTokensOnceComputed, this.numComputedTokens);
    this.numComputedTokens = 0;
  }

  /** Adds a drawn token at the end. Amortized O(1). */
  append(token: TokenId): void {
    if (this.#numTokens === this.#tokens.length) {
      const larger = new Uint32Array(2 * this.#tokens.length);
      larger.set(this.#tokens);
      this.#tokens = larger;
    }
    this.#tokens[this.#numTokens++] = token;
    this.adjuster?.count(token);
  }
}

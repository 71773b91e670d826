import type { BlockId, RequestId, SequenceId } from "./ids.ts";
import type { FinishReason } from "./token_event.ts";

/** Why a sequence is not admitted in this step, with the numbers. */
export type WaitCause =
  | {
    readonly reason:
      /** Its blocks do not fit; none behind it is admitted either. */
      | "blocks"
      /** A running sequence computes a prefix that it can share as soon as that is done. */
      | "shared_prefix"
      /** A sequence of the same request and prompt computes that prompt for both. */
      | "sibling_prompt";
    readonly numNeeded: number;
    readonly numFree: number;
    readonly numEvictable: number;
    /**
     * Blocks that are left over: the watermark, or those that the running sequences are expected to
     * take more before they end.
     */
    readonly numHeadroomSlabs?: number;
  }
  /** As many long prompts are computed as may be; shorter ones are admitted meanwhile. */
  | {
    readonly reason: "long_prefills";
    readonly numLong: number;
    readonly limit: number;
    /** Tokens beyond which a prompt is a long one. */
    readonly threshold: number;
  }
  /** The sequences that run leave too few of the `limit` that a step may have. */
  | {
    readonly reason: "seats";
    readonly numNeeded: number;
    readonly numTaken: number;
    readonly limit: number;
  }
  /** The sequences that run use all `limit` tokens of the step. */
  | { readonly reason: "tokens"; readonly limit: number }
  /** The beams of a search are computed again after a preemption, whose first is `searchId`. */
  | { readonly reason: "recomputation"; readonly searchId: SequenceId }
  /** The prompt of sequence `promptId` is computed in chunks that end where its states are kept. */
  | { readonly reason: "state_snapshot"; readonly promptId: SequenceId }
  /**
   * The head of the queue waits, one of `numWaiting`, and sequences are admitted in their order.
   */
  | { readonly reason: "queue"; readonly headId: SequenceId; readonly numWaiting: number };

/** Why a sequence is not admitted in this step. */
export type WaitReason = WaitCause["reason"];

/** Why a sequence that runs gives its blocks back, and for which other. */
export interface PreemptCause {
  readonly reason:
    /** Sequence `forId` runs and needs blocks; it may be the one that is preempted. */
    | "blocks"
    /** Sequence `forId` is the head of the queue, and outranks it. */
    | "outranked"
    /** It has outgrown the short context that its KV is computed for. */
    | "long_context"
    /** An operator resets the prefix cache. */
    | "reset"
    /** What host memory has of it is not what it was, so that its KV is wrong. */
    | "corrupt";
  readonly forId?: SequenceId;
}

/** Why a preempted sequence is computed again where its blocks might have gone to host memory. */
export type RecomputeReason =
  /** Copying takes longer. */
  | "cheaper"
  /** Host memory has no room. */
  | "full"
  /** Nobody knows yet what computing takes. */
  | "unmeasured"
  /** It is a search, whose beams share blocks, or has outputs of an encoder. */
  | "unsupported"
  /** It would not be the same: the cache is reset, or its KV is of a shorter context. */
  | "stale";

/** What copying a sequence's blocks there and back takes, and computing it again, ms. */
export interface SwapEstimate {
  readonly bytes: number;
  readonly swapMs: number;
  readonly recomputeMs: number;
}

/** One decision about KV memory, with the numbers it was made on. Counts are blocks. */
export type KvDecision =
  | {
    readonly type: "queue";
    readonly requestId: RequestId;
    readonly sequenceId: SequenceId;
    readonly index: number;
    readonly numTokens: number;
    /** Those of them that it drew in an engine that was lost; absent for one that is new. */
    readonly numResumed?: number;
  }
  | { readonly type: "wait"; readonly sequenceId: SequenceId } & WaitCause
  | {
    readonly type: "admit";
    readonly sequenceId: SequenceId;
    readonly numTokens: number;
    readonly numCachedTokens: number;
  }
  | { readonly type: "hit"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "allocate"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "evict"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | {
    readonly type: "copy";
    readonly sequenceId: SequenceId;
    /** Cache group of both blocks. */
    readonly group: number;
    readonly from: BlockId;
    readonly to: BlockId;
    readonly numTokens: number;
  }
  | {
    readonly type: "preempt";
    readonly sequenceId: SequenceId;
    readonly numBlocks: number;
  } & Partial<PreemptCause>
  /** The next `count` positions of a prompt, or of what is computed again after a preemption. */
  | {
    readonly type: "chunk";
    readonly sequenceId: SequenceId;
    readonly start: number;
    readonly count: number;
  }
  /** The first token of answer `index` of the sequence's request is drawn. */
  | { readonly type: "first_token"; readonly sequenceId: SequenceId; readonly index: number }
  /** Answer `index` has ended. */
  | {
    readonly type: "finish";
    readonly sequenceId: SequenceId;
    readonly index: number;
    readonly reason: FinishReason;
  }
  | { readonly type: "free"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  /** A sequence that is preempted has its blocks copied to host memory. */
  | { readonly type: "swap_out"; readonly sequenceId: SequenceId; readonly numBlocks: number }
    & SwapEstimate
  /** It does not, though there is such memory; without an estimate where none was made. */
  | {
    readonly type: "recompute";
    readonly sequenceId: SequenceId;
    readonly reason: RecomputeReason;
  } & Partial<SwapEstimate>
  /** A sequence goes on with blocks that are copied back, behind those found in the cache. */
  | {
    readonly type: "swap_in";
    readonly sequenceId: SequenceId;
    readonly numBlocks: number;
    readonly bytes: number;
    readonly numTokens: number;
  }
  /**
   * What host memory has of a sequence is not used: what was not copied has been evicted, the cache
   * has as much, or a block is not what it was.
   */
  | {
    readonly type: "swap_drop";
    readonly sequenceId: SequenceId;
    readonly reason: "evicted" | "found" | "corrupt";
  }
  /** The last word of a sequence that holds no blocks, which one that does has with "free". */
  | { readonly type: "end"; readonly sequenceId: SequenceId; readonly reason: FinishReason }
  /** The pool has another size; `sequenceId` where it has grown by itself, for that sequence. */
  | {
    readonly type: "resize";
    readonly sequenceId?: SequenceId;
    readonly numBefore: number;
    readonly numAfter: number;
    readonly numEvicted: number;
    readonly numMoved: number;
  }
  /** The device has no memory for a pool of `numWanted` blocks; it keeps its `numBlocks`. */
  | {
    readonly type: "refuse_growth";
    readonly sequenceId: SequenceId;
    readonly numBlocks: number;
    readonly numWanted: number;
  };

/**
 * A decision with the step it was made for and the request it concerns, where that is still known.
 */
export type LoggedDecision = KvDecision & {
  readonly step: number;
  /** Unix time, ms. */
  readonly timeMs?: number;
  readonly requestId?: RequestId;
  /** Which of the request's sequences. */
  readonly index?: number;
  /** The request of the other sequence that the decision names, where it names one. */
  readonly otherRequestId?: RequestId;
};

/** The other sequence that a decision names: what one waits for, or gives way to. */
export function otherSequenceOf(decision: KvDecision): SequenceId | undefined {
  if (decision.type === "wait") {
    if (decision.reason === "queue") return decision.headId;
    if (decision.reason === "recomputation") return decision.searchId;
    return decision.reason === "state_snapshot" ? decision.promptId : undefined;
  }
  return decision.type === "preempt" ? decision.forId : undefined;
}

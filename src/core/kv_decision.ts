import { formatByteSize } from "../base/byte_size.ts";
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
    readonly numKept?: number;
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

/** The decision as one line for people. */
export function describeDecision(decision: LoggedDecision): string {
  return `step ${decision.step}: ${describeSubject(decision)} ${describeAction(decision)}`;
}

function describeSubject({ requestId, index, sequenceId }: LoggedDecision): string {
  if (requestId !== undefined) return `${requestId}[${index ?? 0}]`;
  return sequenceId === undefined ? "an operator" : `sequence ${sequenceId}`;
}

/** What a decision says, without its step and its subject. */
export function describeAction(decision: LoggedDecision): string {
  switch (decision.type) {
    case "queue":
      return `queues with ${decision.numTokens} tokens${describeResumed(decision)}`;
    case "wait":
      return `waits: ${describeWait(decision)}`;
    case "admit":
      return `is admitted with ${decision.numTokens} tokens, ${decision.numCachedTokens} of them cached`;
    case "hit":
      return `finds ${decision.numBlocks} cached blocks`;
    case "allocate":
      return `takes ${decision.numBlocks} blocks`;
    case "evict":
      return `has ${decision.numBlocks} cached blocks evicted`;
    case "copy":
      return `copies ${decision.numTokens} tokens of block ${decision.from} to block ${decision.to}`;
    case "preempt":
      return `is preempted and gives ${decision.numBlocks} blocks back${describePreempt(decision)}`;
    case "chunk":
      return `computes positions ${decision.start} to ${decision.start + decision.count - 1}`;
    case "first_token":
      return "has its first token";
    case "finish":
      return `is finished (${decision.reason})`;
    case "free":
      return `ends and gives ${decision.numBlocks} blocks back`;
    case "swap_out":
      return `has ${decision.numBlocks} blocks copied to host memory (${swapNumbers(decision)})`;
    case "recompute":
      return `will be computed again: ${RECOMPUTE_WORDS[decision.reason]}` +
        (isEstimate(decision) ? ` (${swapNumbers(decision)})` : "");
    case "swap_in":
      return `has ${decision.numBlocks} blocks copied back from host memory ` +
        `(${formatByteSize(decision.bytes)}), up to token ${decision.numTokens}`;
    case "swap_drop":
      return `is computed again in spite of its blocks in host memory: ` +
        DROP_WORDS[decision.reason];
    case "end":
      return `ends while it waits, without blocks (${decision.reason})`;
    case "resize":
      return `has the pool resized from ${decision.numBefore} to ${decision.numAfter} blocks, ` +
        `${decision.numEvicted} evicted, ${decision.numMoved} moved`;
    case "refuse_growth":
      return `wants a pool of ${decision.numWanted} blocks: the device has no memory for it, ` +
        `it stays at ${decision.numBlocks}`;
  }
}

function describePreempt(decision: Extract<LoggedDecision, { readonly type: "preempt" }>): string {
  const { reason, forId, sequenceId } = decision;
  const other = forId === undefined ? "another sequence" : describeOther(forId, decision);
  if (reason === undefined) return "";
  switch (reason) {
    case "blocks":
      return forId === sequenceId ? ": it needs more than are free" : `: ${other} needs blocks`;
    case "outranked":
      return `: ${other} outranks it`;
    case "long_context":
      return ": it has outgrown a short context";
    case "reset":
      return ": the prefix cache is reset";
    case "corrupt":
      return ": a checksum of its blocks in host memory does not match";
  }
}

/** Another sequence that a decision names: by its request, where that is known. */
function describeOther(
  id: SequenceId,
  { otherRequestId }: Pick<LoggedDecision, "otherRequestId">,
): string {
  return otherRequestId === undefined ? `sequence ${id}` : `request ${otherRequestId}`;
}

const RECOMPUTE_WORDS: Readonly<Record<RecomputeReason, string>> = {
  cheaper: "copying takes longer",
  full: "host memory has no room for its blocks (--swap-memory-bytes)",
  unmeasured: "what computing takes has not been measured yet",
  unsupported: "blocks of beams and of encoders are not copied",
  stale: "its KV would not be the same",
};

const DROP_WORDS: Readonly<Record<"evicted" | "found" | "corrupt", string>> = {
  evicted: "what others held of them has been evicted since",
  found: "the prefix cache has as much",
  corrupt: "a checksum does not match",
};

function isEstimate(estimate: Partial<SwapEstimate>): estimate is SwapEstimate {
  return estimate.swapMs !== undefined;
}

function swapNumbers({ bytes, swapMs, recomputeMs }: SwapEstimate): string {
  return `${formatByteSize(bytes)}: ${swapMs.toFixed(1)} ms there and back, ` +
    `${recomputeMs.toFixed(1)} ms to compute`;
}

function describeResumed({ numResumed }: { readonly numResumed?: number }): string {
  if (numResumed === undefined) return "";
  return ` again: its engine was lost after ${numResumed} tokens of its answer`;
}

/** Why a sequence waits, in words. */
export function describeWait(
  cause: WaitCause & Pick<LoggedDecision, "otherRequestId">,
): string {
  switch (cause.reason) {
    case "blocks":
      return blockNumbers(cause);
    case "shared_prefix":
      return `another sequence computes a prefix it can share (${blockNumbers(cause)})`;
    case "sibling_prompt":
      return `its sibling computes the prompt for both (${blockNumbers(cause)})`;
    case "seats":
      return `${cause.numNeeded} sequences of a step needed, ` +
        `${cause.numTaken} of ${cause.limit} taken (--max-num-seqs)`;
    case "tokens":
      return `all ${cause.limit} tokens of the step are taken (--max-num-batched-tokens)`;
    case "recomputation":
      return `the beams of ${describeOther(cause.searchId, cause)} are computed again first`;
    case "state_snapshot":
      return `${describeOther(cause.promptId, cause)} computes its prompt up to where its states ` +
        "are kept";
    case "long_prefills":
      return `${cause.numLong} of ${cause.limit} prompts of more than ${cause.threshold} tokens ` +
        `are computed (--max-long-partial-prefills)`;
    case "queue":
      return `${
        describeOther(cause.headId, cause)
      } is the head of the queue of ${cause.numWaiting}`;
  }
}

function blockNumbers(
  { numNeeded, numFree, numEvictable, numKept }: Extract<
    WaitCause,
    { readonly numFree: number }
  >,
): string {
  const kept = numKept === undefined ? "" : `, ${numKept} kept for what runs to grow`;
  return `${numNeeded} blocks needed, ${numFree} free, ${numEvictable} evictable${kept}`;
}

import type { BlockId, RequestId, SequenceId } from "./ids.ts";
import type { FinishReason } from "./token_event.ts";

/** Why a sequence is not admitted in this step. */
export type WaitReason =
  /** Its blocks do not fit; nobody behind it is admitted either. */
  | "blocks"
  /** A running sequence computes a prefix that it can share as soon as that is done. */
  | "shared_prefix"
  /** A sequence of the same request and prompt computes that prompt for both. */
  | "sibling_prompt";

/** One decision about KV memory, with the numbers it was made on. Counts are blocks. */
export type KvDecision =
  | {
    readonly type: "queue";
    readonly requestId: RequestId;
    readonly sequenceId: SequenceId;
    readonly index: number;
    readonly numTokens: number;
  }
  | {
    readonly type: "wait";
    readonly sequenceId: SequenceId;
    readonly reason: WaitReason;
    readonly numNeeded: number;
    readonly numFree: number;
    readonly numEvictable: number;
  }
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
    readonly from: BlockId;
    readonly to: BlockId;
    readonly numTokens: number;
  }
  | { readonly type: "preempt"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "free"; readonly sequenceId: SequenceId; readonly numBlocks: number }
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
  readonly requestId?: RequestId;
  /** Which of the request's sequences. */
  readonly index?: number;
};

/** The decision as one line for people. */
export function describeDecision(decision: LoggedDecision): string {
  return `step ${decision.step}: ${describeSubject(decision)} ${describeAction(decision)}`;
}

function describeSubject({ requestId, index, sequenceId }: LoggedDecision): string {
  if (requestId !== undefined) return `${requestId}[${index ?? 0}]`;
  return sequenceId === undefined ? "an operator" : `sequence ${sequenceId}`;
}

function describeAction(decision: KvDecision): string {
  switch (decision.type) {
    case "queue":
      return `queues with ${decision.numTokens} tokens`;
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
      return `is preempted and gives ${decision.numBlocks} blocks back`;
    case "free":
      return `ends and gives ${decision.numBlocks} blocks back`;
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

function describeWait(
  { reason, numNeeded, numFree, numEvictable }: KvDecision & { readonly type: "wait" },
): string {
  const numbers = `${numNeeded} blocks needed, ${numFree} free, ${numEvictable} evictable`;
  switch (reason) {
    case "blocks":
      return numbers;
    case "shared_prefix":
      return `another sequence computes a prefix it can share (${numbers})`;
    case "sibling_prompt":
      return `its sibling computes the prompt for both (${numbers})`;
  }
}

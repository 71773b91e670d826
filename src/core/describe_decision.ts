import { formatByteSize } from "../base/byte_size.ts";
import type { SequenceId } from "./ids.ts";
import type { LoggedDecision, RecomputeReason, SwapEstimate, WaitCause } from "./kv_decision.ts";

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
  { numNeeded, numFree, numEvictable, numHeadroomSlabs }: Extract<
    WaitCause,
    { readonly numFree: number }
  >,
): string {
  const kept = numHeadroomSlabs === undefined
    ? ""
    : `, ${numHeadroomSlabs} kept for what runs to grow`;
  return `${numNeeded} blocks needed, ${numFree} free, ${numEvictable} evictable${kept}`;
}

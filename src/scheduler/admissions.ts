import type { ErrorData } from "../core/errors.ts";
import type { Admission } from "../kvcache/admission.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { WaitReason } from "../core/kv_decision.ts";
import type { DecisionListener } from "../kvcache/cache_listener.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Counters } from "./counters.ts";
import { chooseSharing, type Sharing } from "./prefix_sharing.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueues } from "./sequence_queues.ts";
import { cannotAdmit } from "./submission.ts";

/** A sequence that no waiting helps. */
export interface Impossible {
  readonly sequence: Sequence;
  readonly error: ErrorData;
}

/** Is shown the tokens of a sequence and the scope they may be found in (empty: the open one). */
export type TokensListener = (scope: string, tokens: Uint32Array) => void;

/** What a listener is shown of a sequence. */
export function seenBy(sequence: Sequence): Parameters<TokensListener> {
  return [sequence.caching.scope ?? "", sequence.allTokens];
}

/** The limits of admissions. */
export interface AdmissionLimits {
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  readonly onDecision?: DecisionListener;
  readonly onPrompt?: TokensListener;
}

/**
 * Lets sequences that wait start: first come, first served.
 *
 * Who does not fit is not overtaken by a smaller one. Only who waits for what another sequence
 * computes lets others pass, since it comes off better by waiting.
 */
export class Admissions {
  readonly #blocks: BlockManager;
  readonly #limits: AdmissionLimits;
  readonly #queues: SequenceQueues;
  readonly #counters: Counters;
  #impossible: Impossible[] = [];
  #blocked: Sequence | undefined;

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    limits: AdmissionLimits,
    { queues, counters }: { readonly queues: SequenceQueues; readonly counters: Counters },
  ) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.#queues = queues;
    this.#counters = counters;
  }

  /** The sequence that ended the latest `fill` by not fitting; undefined when none did. */
  get blocked(): Sequence | undefined {
    return this.#blocked;
  }

  /** Admits as many sequences as seats, blocks and what is left of the plan's budget allow. */
  fill(plan: BatchPlan): void {
    const { running, waiting } = this.#queues;
    this.#blocked = undefined;
    for (let i = 0; running.length < this.#limits.maxNumSeqs;) {
      const sequence = waiting[i];
      if (sequence === undefined || plan.countFor(sequence) === 0) return;
      const siblings = this.#queues.ofRequest(sequence.requestId);
      const sharing = chooseSharing(sequence, { running, siblings }, this.#blocks);
      if (sharing.type === "wait") {
        this.#reportWait(sequence, sharing.reason);
        i++;
      } else {
        const admission = this.#tryAdmit(sequence, sharing);
        if (admission === undefined) {
          this.#blocked = sequence;
          return;
        }
        this.#start(sequence, admission, plan);
      }
    }
  }

  /** Returns those found impossible, once; the caller ends them. */
  takeImpossible(): readonly Impossible[] {
    const impossible = this.#impossible;
    this.#impossible = [];
    return impossible;
  }

  #tryAdmit(sequence: Sequence, sharing: Exclude<Sharing, { type: "wait" }>) {
    const { id, numTokens, caching } = sequence;
    const admission = sharing.type === "fork"
      ? this.#blocks.tryFork(id, { source: sharing.source.id, numTokens }, caching)
      : this.#blocks.tryAdmit(id, sequence.allTokens, caching);
    if (admission === undefined && this.#queues.running.length === 0) {
      // Pins hold what is missing, and nobody runs who would give blocks back.
      const numPinned = this.#blocks.pins?.numBlocks ?? 0;
      const error = cannotAdmit(numTokens, this.#blocks, numPinned);
      this.#impossible.push({ sequence, error });
    }
    return admission;
  }

  #start(sequence: Sequence, admission: Admission, plan: BatchPlan): void {
    const { numCachedTokens, copy, isLookup } = admission;
    this.#queues.admit(sequence);
    sequence.numComputedTokens = numCachedTokens;
    if (sequence.numPreemptions === 0) {
      // Siblings share one prompt without asking the cache.
      if (sequence.index === sequence.promptGroup) this.#limits.onPrompt?.(...seenBy(sequence));
      sequence.numCachedTokens = numCachedTokens;
      if (isLookup) this.#counters.countLookup(sequence);
    }
    if (copy !== undefined) plan.addCopy(copy);
    plan.add(sequence, plan.countFor(sequence), this.#blocks.blockTable(sequence.id));
  }

  #reportWait(sequence: Sequence, reason: WaitReason): void {
    const { numFree, numCached: numEvictable } = this.#blocks;
    const numNeeded = this.#blocks.numBlocksFor(sequence.numTokens);
    const sequenceId = sequence.id;
    this.#limits.onDecision?.({
      type: "wait",
      sequenceId,
      reason,
      numNeeded,
      numFree,
      numEvictable,
    });
  }
}

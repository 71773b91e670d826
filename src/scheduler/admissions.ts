import type { ErrorData } from "../core/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Admission } from "../kvcache/admission.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { WaitReason } from "../core/kv_decision.ts";
import type { DecisionListener } from "../kvcache/cache_listener.ts";
import type { BatchPlan } from "./batch_plan.ts";
import { BeamGroup } from "./beam_group.ts";
import type { Counters } from "./counters.ts";
import { addTo, tryGrow } from "./growth.ts";
import { inadmissible } from "./outgrown.ts";
import { chooseSharing, type Sharing } from "./prefix_sharing.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

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
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  readonly onDecision?: DecisionListener;
  readonly onPrompt?: TokensListener;
}

/**
 * Lets sequences that wait start: owners take turns, and each owner's are served in order of arrival.
 *
 * A sequence that does not fit ends the admissions of the step, so that no smaller one behind it takes
 * the blocks. Only a sequence that waits for a prefix that another one computes lets others pass, since
 * it comes off better by waiting.
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
    const { running } = this.#queues;
    const turns = this.#queues.takeTurns();
    this.#blocked = undefined;
    for (;;) {
      const sequence = turns.next;
      if (sequence === undefined || plan.countFor(sequence) === 0) return;
      if (!this.#hasSeats(sequence)) return;
      const siblings = this.#queues.ofRequest(sequence.requestId);
      const sharing = chooseSharing(sequence, { running, siblings }, this.#blocks);
      if (sharing.type === "wait") {
        this.#reportWait(sequence, sharing.reason);
        turns.passOver();
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

  /** Whether all that run, and `sequence`, can always advance in the same step. */
  #hasSeats({ numSeats }: Sequence): boolean {
    const { running } = this.#queues;
    const { maxNumSeqs, maxNumBatchedTokens } = this.#limits;
    const latest = running.at(-1);
    // What it computes again takes more tokens than seats, so it has to stay the latest.
    if (latest instanceof BeamGroup && latest.isCatchingUp) return false;
    const numTaken = running.reduce((sum, other) => sum + other.numSeats, 0);
    return numTaken + numSeats <= Math.min(maxNumSeqs, maxNumBatchedTokens);
  }

  #tryAdmit(sequence: Sequence, sharing: Exclude<Sharing, { type: "wait" }>) {
    const { id, numTokens, caching } = sequence;
    const admission = sharing.type === "fork"
      ? this.#blocks.tryFork(id, { source: sharing.source.id, numTokens }, caching)
      : this.#tryAdmitAlone(sequence);
    if (admission === undefined && this.#queues.running.length === 0) {
      // Nobody runs who would give blocks back.
      this.#impossible.push({ sequence, error: inadmissible(sequence, this.#blocks) });
    }
    return admission;
  }

  #tryAdmitAlone(sequence: Sequence): Admission | undefined {
    const { id, allTokens, caching } = sequence;
    if (!(sequence instanceof BeamGroup)) return this.#blocks.tryAdmit(id, allTokens, caching);
    const { leader } = sequence;
    const numReserved = sequence.numBlocksBesideLeader(this.#blocks);
    return this.#blocks.tryAdmit(leader.id, leader.allTokens, { ...caching, numReserved });
  }

  #start(sequence: Sequence, admission: Admission, plan: BatchPlan): void {
    const { numCachedTokens, copy } = admission;
    this.#queues.admit(sequence);
    if (sequence instanceof BeamGroup) sequence.startLeader(numCachedTokens);
    else sequence.numComputedTokens = numCachedTokens;
    if (sequence.numPreemptions === 0) {
      // Siblings share one prompt without asking the cache.
      const isPrompt = sequence.index === sequence.promptGroup && !sequence.isReheat;
      if (isPrompt) this.#limits.onPrompt?.(...seenBy(sequence));
      sequence.numCachedTokens = numCachedTokens;
      for (const answer of sequence.answers) answer.numCachedTokens = numCachedTokens;
    }
    this.#countLookup(sequence, admission);
    if (copy !== undefined) plan.addCopy(copy);
    const hasGrown = tryGrow(sequence, plan, this.#blocks);
    invariant(hasGrown, `sequence ${sequence.id} is admitted and finds no blocks`);
    addTo(plan, sequence, this.#blocks);
  }

  #countLookup(entry: Sequence, { isLookup, ...found }: Admission): void {
    if (!isLookup || entry.isReheat) return;
    const { numCachedTokens: numHitTokens, numEvictedTokens } = found;
    const { numTokens } = entry.members[0]!;
    const lookup = { numTokens, numHitTokens, numEvictedTokens, blockSize: this.#blocks.blockSize };
    if (entry.numPreemptions === 0) this.#counters.countLookup(lookup);
    else this.#counters.countLookupAgain(lookup);
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

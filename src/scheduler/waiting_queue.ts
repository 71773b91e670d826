import { invariant } from "../base/invariant.ts";
import type { Sequence } from "./sequence.ts";

/** What one owner has in the engine. */
interface Share {
  /** Its sequences that have never run, in order of arrival. */
  readonly waiting: Sequence[];
  /** Answers that its waiting sequences decide, preempted ones included. */
  numWaitingAnswers: number;
  /** Seats of its running sequences. */
  numSeats: number;
}

/**
 * The sequences that wait, and whose turn it is to be admitted.
 *
 *     preempted  [ 7 | 9 ]                  first, in their order: they have run before
 *     owner a    [ 12 | 13 | 14 ]  3 seats
 *     owner b    [ 15 ]            1 seat   next: the owner with the fewest running seats,
 *     owner c    [ 16 ]            1 seat   between equals the one whose first came first
 *
 * An owner whose next sequence does not fit is overtaken only by earlier arrivals and by owners with
 * fewer seats, so at the latest when its own running sequences have ended: no sequence waits for ever.
 * With one owner the order is that of arrival. A turn costs O(owners with work in the engine), leaving
 * the queue O(its owner's waiting sequences).
 */
export class WaitingQueue {
  /** Next to be admitted first. */
  readonly #preempted: Sequence[] = [];
  readonly #shares = new Map<Sequence["owner"], Share>();

  /** The sequences that wait: the preempted ones, then owner by owner. O(sequences). */
  get sequences(): readonly Sequence[] {
    return [...this.#preempted, ...this.#shares.values().flatMap(({ waiting }) => waiting)];
  }

  /** Answers of an owner whose sequences wait, preempted ones included. */
  numAnswersOf(owner: Sequence["owner"]): number {
    return this.#shares.get(owner)?.numWaitingAnswers ?? 0;
  }

  /** The turns of one step; see {@link AdmissionTurns}. */
  takeTurns(): AdmissionTurns {
    return new AdmissionTurns(this.#preempted, this.#shares.values());
  }

  /** A sequence that has arrived after all others begins to wait. */
  add(sequence: Sequence): void {
    const share = this.#shareOf(sequence.owner);
    share.waiting.push(sequence);
    share.numWaitingAnswers += sequence.answers.length;
  }

  /** A sequence that waits is to run. */
  admit(sequence: Sequence): void {
    this.#remove(sequence);
    this.#shareOf(sequence.owner).numSeats += sequence.numSeats;
  }

  /** A sequence that ran waits again, before all others. */
  preempt(sequence: Sequence): void {
    const share = this.#shareOf(sequence.owner);
    share.numSeats -= sequence.numSeats;
    share.numWaitingAnswers += sequence.answers.length;
    this.#preempted.unshift(sequence);
  }

  /** A sequence has ended, which waits or runs as its `state` still says. */
  end(sequence: Sequence): void {
    const { owner, state, numSeats } = sequence;
    if (state === "waiting") this.#remove(sequence);
    else this.#shareOf(owner).numSeats -= numSeats;
    const share = this.#shareOf(owner);
    // Owners come and go; only those with work are remembered.
    if (share.numWaitingAnswers === 0 && share.numSeats === 0) this.#shares.delete(owner);
  }

  /** Audit: what is counted per owner is what waits and what is in `running`. O(sequences). */
  checkIntegrity(running: readonly Sequence[]): void {
    const waitingOf = Map.groupBy(this.sequences, ({ owner }) => owner);
    const runningOf = Map.groupBy(running, ({ owner }) => owner);
    for (const owner of new Set([...waitingOf.keys(), ...runningOf.keys()])) {
      invariant(this.#shares.has(owner), `owner ${owner} has work and no share`);
    }
    for (const [owner, { numWaitingAnswers, numSeats }] of this.#shares) {
      const answers = (waitingOf.get(owner) ?? []).flatMap((sequence) => sequence.answers);
      const seats = (runningOf.get(owner) ?? []).reduce((sum, entry) => sum + entry.numSeats, 0);
      invariant(
        numWaitingAnswers === answers.length && numSeats === seats && seats + answers.length > 0,
        `owner ${owner} has ${answers.length} answers waiting and ${seats} seats, counted are ` +
          `${numWaitingAnswers} and ${numSeats}`,
      );
    }
  }

  #shareOf(owner: Sequence["owner"]): Share {
    let share = this.#shares.get(owner);
    if (share === undefined) {
      share = { waiting: [], numWaitingAnswers: 0, numSeats: 0 };
      this.#shares.set(owner, share);
    }
    return share;
  }

  #remove(sequence: Sequence): void {
    const share = this.#shareOf(sequence.owner);
    const list = this.#preempted.includes(sequence) ? this.#preempted : share.waiting;
    const at = list.indexOf(sequence);
    invariant(at >= 0, `sequence ${sequence.id} is not where its state ${sequence.state} says`);
    list.splice(at, 1);
    share.numWaitingAnswers -= sequence.answers.length;
  }
}

/**
 * Names the sequences that wait, one after the other, in the order in which they are to be admitted.
 *
 * Between two turns the one named is admitted or passed over; nothing else happens to the queue.
 */
export class AdmissionTurns {
  readonly #preempted: readonly Sequence[];
  readonly #shares: readonly Share[];
  #numPreemptedPassed = 0;
  /** How many at the front of each owner's waiting sequences are passed over. */
  readonly #numPassed = new Map<Share, number>();

  /** Turns through these lists, which shrink as their sequences are admitted. */
  constructor(preempted: readonly Sequence[], shares: Iterable<Share>) {
    this.#preempted = preempted;
    this.#shares = [...shares];
  }

  /** The sequence whose turn it is; undefined when all have been admitted or passed over. */
  get next(): Sequence | undefined {
    const preempted = this.#preempted[this.#numPreemptedPassed];
    if (preempted !== undefined) return preempted;
    const share = this.#nextShare();
    return share && this.#firstOf(share);
  }

  /** Leaves the sequence whose turn it is waiting, and lets those behind it have theirs. */
  passOver(): void {
    if (this.#numPreemptedPassed < this.#preempted.length) {
      this.#numPreemptedPassed++;
      return;
    }
    const share = this.#nextShare();
    if (share !== undefined) this.#numPassed.set(share, this.#numPassedOf(share) + 1);
  }

  #nextShare(): Share | undefined {
    let best: Share | undefined;
    for (const share of this.#shares) {
      const first = this.#firstOf(share);
      if (first === undefined) continue;
      const isSooner = best === undefined || share.numSeats < best.numSeats ||
        (share.numSeats === best.numSeats && first.id < this.#firstOf(best)!.id);
      if (isSooner) best = share;
    }
    return best;
  }

  #firstOf(share: Share): Sequence | undefined {
    return share.waiting[this.#numPassedOf(share)];
  }

  #numPassedOf(share: Share): number {
    return this.#numPassed.get(share) ?? 0;
  }
}

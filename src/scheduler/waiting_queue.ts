import { invariant } from "../base/invariant.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The groups of one owner in the engine. */
interface Share {
  /** Its groups that have never run, in order of arrival. */
  readonly waiting: SequenceGroup[];
  /** Answers that its waiting groups decide, preempted ones included. */
  numWaitingAnswers: number;
  /** Seats of its running groups. */
  numSeats: number;
}

/**
 * The groups that wait, and the order in which they are admitted.
 *
 *     preempted  [ 7 | 9 ]                  first, in their order: they have run before
 *     owner a    [ 12 | 13 | 14 ]  3 seats
 *     owner b    [ 15 ]            1 seat   next: the owner with the fewest running seats,
 *     owner c    [ 16 ]            1 seat   between equals the one whose first came first
 *
 * Owners of a higher priority have their turns before those of a lower one, whatever runs.
 *
 * Among owners of one priority, an owner whose next group does not fit is overtaken only by earlier
 * arrivals and by owners with fewer seats, so at the latest when its own running groups have ended:
 * no group waits for ever. With one owner the order is that of arrival. A turn costs O(owners with
 * work in the engine), leaving the queue O(its owner's waiting groups).
 */
export class WaitingQueue {
  /** Next to be admitted first. */
  readonly #preempted: SequenceGroup[] = [];
  readonly #shares = new Map<SequenceGroup["owner"], Share>();

  /** The groups that wait: the preempted ones, then owner by owner. O(groups). */
  get groups(): readonly SequenceGroup[] {
    return [...this.#preempted, ...this.#shares.values().flatMap(({ waiting }) => waiting)];
  }

  /** Answers of an owner whose groups wait, preempted ones included. */
  numAnswersOf(owner: SequenceGroup["owner"]): number {
    return this.#shares.get(owner)?.numWaitingAnswers ?? 0;
  }

  /** The turns of one step; see {@link AdmissionTurns}. */
  takeTurns(): AdmissionTurns {
    return new AdmissionTurns(this.#preempted, this.#shares.values());
  }

  /** A group that has arrived after all others begins to wait. */
  add(group: SequenceGroup): void {
    const share = this.#shareOf(group.owner);
    share.waiting.push(group);
    share.numWaitingAnswers += group.answers.length;
  }

  /** A group that waits is to run. */
  admit(group: SequenceGroup): void {
    this.#remove(group);
    this.#shareOf(group.owner).numSeats += group.numSeats;
  }

  /** A group that ran waits again, before all others. */
  preempt(group: SequenceGroup): void {
    const share = this.#shareOf(group.owner);
    share.numSeats -= group.numSeats;
    share.numWaitingAnswers += group.answers.length;
    this.#preempted.unshift(group);
  }

  /** A group has ended, which waits or runs as its `state` still says. */
  end(group: SequenceGroup): void {
    const { owner, state, numSeats } = group;
    if (state === "waiting") this.#remove(group);
    else this.#shareOf(owner).numSeats -= numSeats;
    const share = this.#shareOf(owner);
    // Owners come and go; only those with work are remembered.
    if (share.numWaitingAnswers === 0 && share.numSeats === 0) this.#shares.delete(owner);
  }

  /** Audit: the counts per owner are those of the groups that wait and of `running`. O(groups). */
  checkIntegrity(running: readonly SequenceGroup[]): void {
    const waitingOf = Map.groupBy(this.groups, ({ owner }) => owner);
    const runningOf = Map.groupBy(running, ({ owner }) => owner);
    for (const owner of new Set([...waitingOf.keys(), ...runningOf.keys()])) {
      invariant(this.#shares.has(owner), `owner ${owner} has work and no share`);
    }
    for (const [owner, { numWaitingAnswers, numSeats }] of this.#shares) {
      const answers = (waitingOf.get(owner) ?? []).flatMap((group) => group.answers);
      const seats = (runningOf.get(owner) ?? []).reduce((sum, entry) => sum + entry.numSeats, 0);
      invariant(
        numWaitingAnswers === answers.length && numSeats === seats && seats + answers.length > 0,
        `owner ${owner} has ${answers.length} answers waiting and ${seats} seats, counted are ` +
          `${numWaitingAnswers} and ${numSeats}`,
      );
    }
  }

  #shareOf(owner: SequenceGroup["owner"]): Share {
    let share = this.#shares.get(owner);
    if (share === undefined) {
      share = { waiting: [], numWaitingAnswers: 0, numSeats: 0 };
      this.#shares.set(owner, share);
    }
    return share;
  }

  #remove(group: SequenceGroup): void {
    const share = this.#shareOf(group.owner);
    const list = this.#preempted.includes(group) ? this.#preempted : share.waiting;
    const at = list.indexOf(group);
    invariant(at >= 0, `group ${group.id} is not where its state ${group.state} says`);
    list.splice(at, 1);
    share.numWaitingAnswers -= group.answers.length;
  }
}

/**
 * Names the groups that wait, one after the other, in the order in which they are to be admitted.
 *
 * Between two turns the one named is admitted or passed over; nothing else happens to the queue.
 */
export class AdmissionTurns {
  readonly #preempted: readonly SequenceGroup[];
  readonly #shares: readonly Share[];
  #numPreemptedPassed = 0;
  /** How many at the front of each owner's waiting groups are passed over. */
  readonly #numPassed = new Map<Share, number>();

  /** Turns through these lists, which shrink as their groups are admitted. */
  constructor(preempted: readonly SequenceGroup[], shares: Iterable<Share>) {
    this.#preempted = preempted;
    this.#shares = [...shares];
  }

  /** The group whose turn it is; undefined when all have been admitted or passed over. */
  get next(): SequenceGroup | undefined {
    const preempted = this.#preempted[this.#numPreemptedPassed];
    if (preempted !== undefined) return preempted;
    const share = this.#nextShare();
    return share && this.#firstOf(share);
  }

  /** Leaves the group whose turn it is waiting, and lets those behind it have theirs. */
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
      const rival = best && this.#firstOf(best)!;
      const order = rival === undefined ? -1 : rival.priority - first.priority ||
        share.numSeats - best!.numSeats || first.id - rival.id;
      if (order < 0) best = share;
    }
    return best;
  }

  #firstOf(share: Share): SequenceGroup | undefined {
    return share.waiting[this.#numPassedOf(share)];
  }

  #numPassedOf(share: Share): number {
    return this.#numPassed.get(share) ?? 0;
  }
}

import { invariant, InvariantError } from "../base/invariant.ts";
import type { AdmissionTurns, Share, WaitingGroups } from "./policies/admission_turns.ts";
import { FcfsPolicy } from "./policies/fcfs_policy.ts";
import type { SchedulingPolicy } from "./policies/scheduling_policy.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** A share as the queue keeps it. */
interface OwnShare extends Share {
  readonly waiting: SequenceGroup[];
  /** Answers that its waiting groups decide, preempted ones included. */
  numWaitingAnswers: number;
  numSeats: number;
}

/**
 * The groups that wait, by owner, and the order in which they are admitted, which is the policy's.
 * Leaving the queue costs O(its owner's waiting groups).
 */
export class WaitingQueue {
  /** Next to be admitted first. */
  readonly #preempted: SequenceGroup[] = [];
  readonly #shares = new Map<SequenceGroup["owner"], OwnShare>();
  readonly #policy: SchedulingPolicy;
  readonly #groups: WaitingGroups = {
    preempted: this.#preempted,
    shares: () => this.#shares.values(),
  };

  constructor(policy: SchedulingPolicy = new FcfsPolicy()) {
    this.#policy = policy;
  }

  /** The groups that wait: the preempted ones, then owner by owner. O(groups). */
  get groups(): readonly SequenceGroup[] {
    const groups = [...this.#preempted];
    for (const { waiting } of this.#shares.values()) groups.push(...waiting);
    return groups;
  }

  /** Answers of an owner whose groups wait, preempted ones included. */
  numAnswersOf(owner: SequenceGroup["owner"]): number {
    return this.#shares.get(owner)?.numWaitingAnswers ?? 0;
  }

  /** Owners whose groups wait, preempted ones included. O(owners with work in the engine). */
  get numOwners(): number {
    return this.#shares.values().filter(({ numWaitingAnswers }) => numWaitingAnswers > 0)
      .reduce((sum) => sum + 1, 0);
  }

  /** The turns of one step; see {@link AdmissionTurns}. */
  takeTurns(): AdmissionTurns {
    return this.#policy.takeTurns(this.#groups);
  }

  /** A group that has arrived after all others begins to wait; if it has run before, with those. */
  add(group: SequenceGroup): void {
    const share = this.#shareOf(group.owner);
    if (group.numPreemptions > 0) this.#preempted.push(group);
    else share.waiting.push(group);
    share.numWaitingAnswers += group.answers.length;
  }

  /** A group that waits is to run. */
  admit(group: SequenceGroup): void {
    const isNew = this.#remove(group);
    this.#shareOf(group.owner).numSeats += group.numSeats;
    if (isNew) this.#policy.admitted?.(group);
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
    this.#policy.ended?.(group);
  }

  /** Audit: the counts per owner are those of {@link groups} and of `running`. O(groups). */
  checkIntegrity(groups: readonly SequenceGroup[], running: readonly SequenceGroup[]): void {
    const numAnswersOf = sumByOwner(groups, ({ answers }) => answers.length);
    const numSeatsOf = sumByOwner(running, (group) => group.numSeats);
    for (const sums of [numAnswersOf, numSeatsOf]) {
      for (const owner of sums.keys()) {
        if (!this.#shares.has(owner)) {
          throw new InvariantError(`owner ${owner} has work and no share`);
        }
      }
    }
    for (const [owner, { numWaitingAnswers, numSeats }] of this.#shares) {
      const answers = numAnswersOf.get(owner) ?? 0;
      const seats = numSeatsOf.get(owner) ?? 0;
      if (numWaitingAnswers !== answers || numSeats !== seats || seats + answers === 0) {
        throw new InvariantError(
          `owner ${owner} has ${answers} answers waiting and ${seats} seats, counted are ` +
            `${numWaitingAnswers} and ${numSeats}`,
        );
      }
    }
  }

  #shareOf(owner: SequenceGroup["owner"]): OwnShare {
    let share = this.#shares.get(owner);
    if (share === undefined) {
      share = { owner, waiting: [], numWaitingAnswers: 0, numSeats: 0 };
      this.#shares.set(owner, share);
    }
    return share;
  }

  /** Returns whether it had never run. */
  #remove(group: SequenceGroup): boolean {
    const share = this.#shareOf(group.owner);
    const hasRun = this.#preempted.includes(group);
    const list = hasRun ? this.#preempted : share.waiting;
    const at = list.indexOf(group);
    invariant(at >= 0, `group ${group.id} is not where its state ${group.state} says`);
    list.splice(at, 1);
    share.numWaitingAnswers -= group.answers.length;
    return !hasRun;
  }
}

/** The sum of a number of each group, by owner. */
function sumByOwner(
  groups: readonly SequenceGroup[],
  numOf: (group: SequenceGroup) => number,
): Map<SequenceGroup["owner"], number> {
  const sums = new Map<SequenceGroup["owner"], number>();
  for (const group of groups) {
    sums.set(group.owner, (sums.get(group.owner) ?? 0) + numOf(group));
  }
  return sums;
}

import { invariant, InvariantError } from "../base/invariant.ts";
import type { AdmissionTurns, OwnerQueue, WaitingGroups } from "./policies/admission_turns.ts";
import { FcfsPolicy } from "./policies/fcfs_policy.ts";
import type { SchedulingPolicy } from "./policies/scheduling_policy.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The groups of an owner, with what is counted of them. */
interface CountedOwnerQueue extends OwnerQueue {
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
  readonly #owners = new Map<SequenceGroup["owner"], CountedOwnerQueue>();
  readonly #policy: SchedulingPolicy;
  readonly #groups: WaitingGroups = {
    preempted: this.#preempted,
    owners: () => this.#owners.values(),
  };

  constructor(policy: SchedulingPolicy = new FcfsPolicy()) {
    this.#policy = policy;
  }

  /** The groups that wait: the preempted ones, then owner by owner. O(groups). */
  get groups(): readonly SequenceGroup[] {
    const groups = [...this.#preempted];
    for (const { waiting } of this.#owners.values()) groups.push(...waiting);
    return groups;
  }

  /** Answers of an owner whose groups wait, preempted ones included. */
  numAnswersOf(owner: SequenceGroup["owner"]): number {
    return this.#owners.get(owner)?.numWaitingAnswers ?? 0;
  }

  /** Owners whose groups wait, preempted ones included. O(owners with work in the engine). */
  get numOwners(): number {
    return this.#owners.values().filter(({ numWaitingAnswers }) => numWaitingAnswers > 0)
      .reduce((sum) => sum + 1, 0);
  }

  /** The turns of one step; see {@link AdmissionTurns}. */
  takeTurns(): AdmissionTurns {
    return this.#policy.takeTurns(this.#groups);
  }

  /** A group that has arrived after all others begins to wait; if it has run before, with those. */
  add(group: SequenceGroup): void {
    const queue = this.#queueOf(group.owner);
    if (group.numPreemptions > 0) this.#preempted.push(group);
    else queue.waiting.push(group);
    queue.numWaitingAnswers += group.answers.length;
  }

  /** A group that waits is to run. */
  admit(group: SequenceGroup): void {
    const isNew = this.#remove(group);
    this.#queueOf(group.owner).numSeats += group.numSeats;
    if (isNew) this.#policy.admitted?.(group);
  }

  /** A group that ran waits again, before all others. */
  preempt(group: SequenceGroup): void {
    const queue = this.#queueOf(group.owner);
    queue.numSeats -= group.numSeats;
    queue.numWaitingAnswers += group.answers.length;
    this.#preempted.unshift(group);
  }

  /** A group has ended, which waits or runs as its `state` still says. */
  end(group: SequenceGroup): void {
    const { owner, state, numSeats } = group;
    if (state === "waiting") this.#remove(group);
    else this.#queueOf(owner).numSeats -= numSeats;
    const queue = this.#queueOf(owner);
    // Owners come and go; only those with work are remembered.
    if (queue.numWaitingAnswers === 0 && queue.numSeats === 0) this.#owners.delete(owner);
    this.#policy.ended?.(group);
  }

  /** Audit: the counts per owner are those of {@link groups} and of `running`. O(groups). */
  checkIntegrity(groups: readonly SequenceGroup[], running: readonly SequenceGroup[]): void {
    const numAnswersOf = sumByOwner(groups, ({ answers }) => answers.length);
    const numSeatsOf = sumByOwner(running, (group) => group.numSeats);
    for (const sums of [numAnswersOf, numSeatsOf]) {
      for (const owner of sums.keys()) {
        if (!this.#owners.has(owner)) {
          throw new InvariantError(`owner ${owner} has work and no queue`);
        }
      }
    }
    for (const [owner, { numWaitingAnswers, numSeats }] of this.#owners) {
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

  #queueOf(owner: SequenceGroup["owner"]): CountedOwnerQueue {
    let queue = this.#owners.get(owner);
    if (queue === undefined) {
      queue = { owner, waiting: [], numWaitingAnswers: 0, numSeats: 0 };
      this.#owners.set(owner, queue);
    }
    return queue;
  }

  /** Returns whether it had never run. */
  #remove(group: SequenceGroup): boolean {
    const queue = this.#queueOf(group.owner);
    const hasRun = this.#preempted.includes(group);
    const list = hasRun ? this.#preempted : queue.waiting;
    const at = list.indexOf(group);
    invariant(at >= 0, `group ${group.id} is not where its state ${group.state} says`);
    list.splice(at, 1);
    queue.numWaitingAnswers -= group.answers.length;
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

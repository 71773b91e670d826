import type { SequenceGroup } from "../sequence_group.ts";

/** The groups of one owner in the engine. */
export interface OwnerQueue {
  readonly owner: SequenceGroup["owner"];
  /** Its groups that have never run, in order of arrival. */
  readonly waiting: readonly SequenceGroup[];
  /** Seats of its running groups. */
  readonly numSeats: number;
}

/** The groups that wait, as policies see them; the lists shrink as groups are admitted. */
export interface WaitingGroups {
  /** Those that have run before; the latest preempted first. */
  readonly preempted: readonly SequenceGroup[];
  /**
   * The others, owner by owner: all owners with work in the engine, also those of which none waits.
   */
  readonly owners: () => IteratorObject<OwnerQueue>;
}

/**
 * Names the groups that wait, one after the other, in the order in which they are to be admitted.
 *
 * Between two turns the one named is admitted or passed over; nothing else happens to the queue.
 */
export interface AdmissionTurns {
  /** The group whose turn it is; undefined when all have been admitted or passed over. */
  readonly next: SequenceGroup | undefined;
  /** Leaves the group whose turn it is waiting, and lets those behind it have theirs. */
  passOver(): void;
}

/** Turns through preempted groups, which come first, and then through others. */
export class PreemptedFirst implements AdmissionTurns {
  readonly #preempted: readonly SequenceGroup[];
  readonly #others: AdmissionTurns;
  #numPassed = 0;

  /** Turns through `preempted`, which shrinks as its groups are admitted, then through `others`. */
  constructor(preempted: readonly SequenceGroup[], others: AdmissionTurns) {
    this.#preempted = preempted;
    this.#others = others;
  }

  get next(): SequenceGroup | undefined {
    return this.#preempted[this.#numPassed] ?? this.#others.next;
  }

  passOver(): void {
    if (this.#numPassed < this.#preempted.length) this.#numPassed++;
    else this.#others.passOver();
  }
}

/** Turns through a list that is sorted once, when it is first asked for. */
export class ListedTurns implements AdmissionTurns {
  readonly #list: () => readonly SequenceGroup[];
  #sorted: readonly SequenceGroup[] | undefined;
  #at = 0;

  /** @param list the groups that wait, in the order of their turns. */
  constructor(list: () => readonly SequenceGroup[]) {
    this.#list = list;
  }

  get next(): SequenceGroup | undefined {
    this.#sorted ??= this.#list();
    while (this.#sorted[this.#at]?.state === "running") this.#at++;
    return this.#sorted[this.#at];
  }

  passOver(): void {
    if (this.next !== undefined) this.#at++;
  }
}

/** Turns of owners, each through its own groups in order of arrival. */
export abstract class OwnerTurns implements AdmissionTurns {
  protected readonly owners: readonly OwnerQueue[];
  /** How many at the front of each owner's waiting groups are passed over. */
  readonly #numPassed = new Map<OwnerQueue, number>();

  /** Turns through the waiting groups of `owners`, which shrink as these are admitted. */
  constructor(owners: Iterable<OwnerQueue>) {
    this.owners = [...owners];
  }

  get next(): SequenceGroup | undefined {
    const queue = this.nextQueue();
    return queue && this.firstOf(queue);
  }

  passOver(): void {
    const queue = this.nextQueue();
    if (queue !== undefined) this.#numPassed.set(queue, this.#numPassedOf(queue) + 1);
  }

  /** The owner whose turn it is, of those with a first group; undefined where none has one. */
  protected abstract nextQueue(): OwnerQueue | undefined;

  /** The first group of an owner that is not passed over. */
  protected firstOf(queue: OwnerQueue): SequenceGroup | undefined {
    return queue.waiting[this.#numPassedOf(queue)];
  }

  #numPassedOf(queue: OwnerQueue): number {
    return this.#numPassed.get(queue) ?? 0;
  }
}

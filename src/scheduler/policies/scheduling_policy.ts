import type { SequenceGroup } from "../sequence_group.ts";

/** The groups of one owner in the engine. */
export interface Share {
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
  /** The others, owner by owner; owners with work in the engine are among them. */
  readonly shares: () => IteratorObject<Share>;
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

/**
 * Who is admitted next, and who gives way: all that differs between the policies of a scheduler.
 *
 * Plain decisions over groups, without blocks, clocks or devices; a policy is told of admissions
 * and ends where it keeps account of them.
 */
export interface SchedulingPolicy {
  /** The turns of one step. */
  takeTurns(waiting: WaitingGroups): AdmissionTurns;
  /**
   * The running groups, given in order of admission, in the order in which they get blocks and
   * what a step has left for prompts: the last gives its blocks back first. Does not change
   * `running`, and may be it.
   */
  order(running: readonly SequenceGroup[]): readonly SequenceGroup[];
  /** Whether a group that waits takes the blocks of one that runs; absent: never. */
  outranks?(waiting: SequenceGroup, running: SequenceGroup): boolean;
  /** A group that had never run is admitted. */
  admitted?(group: SequenceGroup): void;
  /** A group has ended, which waits or runs as its `state` still says. */
  ended?(group: SequenceGroup): void;
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

/**
 * Running groups in the order of fair shares: owners of a higher priority first, then each owner's
 * first, each owner's second and so on, of equals the earliest admitted first. So the owner with
 * the most running groups gives way first, by its latest. `running` itself where that is its order.
 */
export function orderByShares(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
  const first = running[0];
  const isPlain = running.every(({ owner, priority }) =>
    owner === first!.owner && priority === first!.priority
  );
  if (isPlain) return running;
  const numOf = new Map<SequenceGroup["owner"], number>();
  const places = running.map((group, i) => {
    const place = numOf.get(group.owner) ?? 0;
    numOf.set(group.owner, place + 1);
    return { group, place, i };
  });
  places.sort((a, b) => b.group.priority - a.group.priority || a.place - b.place || a.i - b.i);
  return places.map(({ group }) => group);
}

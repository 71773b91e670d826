import type { SequenceGroup } from "../sequence_group.ts";
import { FcfsPolicy } from "./fcfs_policy.ts";
import {
  type AdmissionTurns,
  ListedTurns,
  orderByShares,
  PreemptedFirst,
  type SchedulingPolicy,
  type Share,
  type WaitingGroups,
} from "./scheduling_policy.ts";

/** Waiting groups beyond which looking all of them up costs more than it gains. */
export const MAX_PREFIX_ORDERED = 128;
/** How many later arrivals may be admitted before a group. */
export const MAX_OVERTAKEN = 64;

/** How many leading tokens of a group an admission would find computed. */
export type CachedLength = (group: SequenceGroup) => number;

/**
 * The longest cached prefix first, so that what is cached is used before it is evicted (Zheng et
 * al. 2024, "SGLang", arXiv:2312.07104); between equals, the earliest.
 *
 * A group that {@link MAX_OVERTAKEN} later arrivals have overtaken has aged: aged ones go first,
 * in order of arrival. While more than {@link MAX_PREFIX_ORDERED} groups wait, and owners of
 * different priorities always, the order is that of {@link FcfsPolicy} and of priorities.
 *
 * Bound: with one priority, at most {@link MAX_OVERTAKEN} later arrivals are admitted before a
 * group while at most {@link MAX_PREFIX_ORDERED} wait. A step in which groups wait and seats are
 * left costs O(blocks of their prompts).
 */
export class LongestPrefixPolicy implements SchedulingPolicy {
  readonly #cachedLength: CachedLength;
  readonly #fallback = new FcfsPolicy();
  /** Later arrivals that were admitted before each group that waits. */
  readonly #numOvertaken = new Map<SequenceGroup, number>();
  #waiting: readonly SequenceGroup[] = [];

  constructor(cachedLength: CachedLength) {
    this.#cachedLength = cachedLength;
  }

  takeTurns(waiting: WaitingGroups): AdmissionTurns {
    const groups = all(waiting.shares());
    this.#waiting = groups;
    if (groups.length > MAX_PREFIX_ORDERED) return this.#fallback.takeTurns(waiting);
    const listed = new ListedTurns(() => this.#sort(groups));
    return new PreemptedFirst(waiting.preempted, listed);
  }

  order(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
    return orderByShares(running);
  }

  admitted(group: SequenceGroup): void {
    this.#numOvertaken.delete(group);
    for (const other of this.#waiting) {
      const isOvertaken = other.id < group.id && other.state === "waiting";
      if (!isOvertaken || other.requestId === group.requestId) continue;
      this.#numOvertaken.set(other, (this.#numOvertaken.get(other) ?? 0) + 1);
    }
  }

  ended(group: SequenceGroup): void {
    this.#numOvertaken.delete(group);
  }

  #sort(groups: readonly SequenceGroup[]): SequenceGroup[] {
    const keyed = groups.map((group) => {
      const hasAged = (this.#numOvertaken.get(group) ?? 0) >= MAX_OVERTAKEN;
      return { group, length: hasAged ? Infinity : this.#cachedLength(group) };
    });
    return keyed.sort((a, b) =>
      b.group.priority - a.group.priority || compareLengths(b.length, a.length) ||
      a.group.id - b.group.id
    ).map(({ group }) => group);
  }
}

/** As a difference, of which two infinities have none. */
function compareLengths(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function all(shares: Iterable<Share>): readonly SequenceGroup[] {
  return [...shares].flatMap(({ waiting }) => waiting);
}

import type { SequenceGroup } from "../sequence_group.ts";
import {
  type AdmissionTurns,
  ListedTurns,
  type OwnerQueue,
  PreemptedFirst,
  type WaitingGroups,
} from "./admission_turns.ts";
import { FcfsPolicy } from "./fcfs_policy.ts";
import { orderInTurns, type SchedulingPolicy } from "./scheduling_policy.ts";

/** Waiting groups beyond which putting all of them in order costs more than it gains. */
export const MAX_PREFIX_ORDERED = 1024;
/** How many later arrivals may always be admitted before a group, however few wait. */
export const MIN_OVERTAKEN = 64;

/** Tells at any time how many leading tokens of a group an admission would find computed. */
export type WatchCached = (group: SequenceGroup) => () => number;

/** What is known of a group that waits. */
interface Waiting {
  /** Leading tokens that an admission would find computed now. */
  readonly cachedLength: () => number;
  /** Later arrivals that were admitted before it. */
  numOvertaken: number;
  /** Most groups that have waited at once since it came, itself included. */
  mostWaiting: number;
}

/**
 * The longest cached prefix first, so that what is cached is used before it is evicted (Zheng et
 * al. 2024, "SGLang", arXiv:2312.07104); between equals, the earliest.
 *
 * A group ages when as many later arrivals have overtaken it as have waited at once, itself
 * included, or {@link MIN_OVERTAKEN}: aged ones go first, in order of arrival. While more than
 * {@link MAX_PREFIX_ORDERED} groups wait, and owners of different priorities always, the order is
 * that of {@link FcfsPolicy} and of priorities.
 *
 * Bound: with one priority, while at most {@link MAX_PREFIX_ORDERED} wait, a group is overtaken by
 * no more later arrivals than have waited at once with it, or {@link MIN_OVERTAKEN}: it waits about
 * twice as long as it would in order of arrival. A step in which groups wait and seats are left
 * costs O(groups log groups + what has changed of their prefixes), and O(groups) per admission.
 */
export class LongestPrefixPolicy implements SchedulingPolicy {
  readonly #watchCached: WatchCached;
  readonly #fallback = new FcfsPolicy();
  /** The groups that waited in the last step, and what is known of them. */
  readonly #known = new Map<SequenceGroup, Waiting>();

  constructor(watchCached: WatchCached) {
    this.#watchCached = watchCached;
  }

  takeTurns(waiting: WaitingGroups): AdmissionTurns {
    const groups = all(waiting.owners());
    for (const group of groups) {
      const known = this.#knownOf(group);
      known.mostWaiting = Math.max(known.mostWaiting, groups.length);
    }
    if (groups.length > MAX_PREFIX_ORDERED) return this.#fallback.takeTurns(waiting);
    const listed = new ListedTurns(() => this.#sort(groups));
    return new PreemptedFirst(waiting.preempted, listed);
  }

  order(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
    return orderInTurns(running);
  }

  admitted(group: SequenceGroup): void {
    this.#known.delete(group);
    for (const [other, known] of this.#known) {
      if (other.id < group.id && other.requestId !== group.requestId) known.numOvertaken++;
    }
  }

  ended(group: SequenceGroup): void {
    this.#known.delete(group);
  }

  #knownOf(group: SequenceGroup): Waiting {
    let known = this.#known.get(group);
    if (known === undefined) {
      known = { cachedLength: this.#watchCached(group), numOvertaken: 0, mostWaiting: 0 };
      this.#known.set(group, known);
    }
    return known;
  }

  #sort(groups: readonly SequenceGroup[]): SequenceGroup[] {
    const keyed = groups.map((group) => {
      const { cachedLength, numOvertaken, mostWaiting } = this.#knownOf(group);
      const hasAged = numOvertaken >= Math.max(MIN_OVERTAKEN, mostWaiting);
      return { group, length: hasAged ? Infinity : cachedLength() };
    });
    return keyed.sort((a, b) =>
      b.group.ownerPriority - a.group.ownerPriority || compareLengths(b.length, a.length) ||
      a.group.id - b.group.id
    ).map(({ group }) => group);
  }
}

/** As a difference, of which two infinities have none. */
function compareLengths(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function all(owners: Iterable<OwnerQueue>): readonly SequenceGroup[] {
  return [...owners].flatMap(({ waiting }) => waiting);
}

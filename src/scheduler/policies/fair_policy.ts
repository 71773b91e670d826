import type { SequenceGroup } from "../sequence_group.ts";
import {
  type AdmissionTurns,
  type OwnerQueue,
  OwnerTurns,
  PreemptedFirst,
  type WaitingGroups,
} from "./admission_turns.ts";
import { orderInTurns, type SchedulingPolicy } from "./scheduling_policy.ts";

/** Tokens that an owner may have admitted more per round. */
export const QUANTUM = 1024;

/** Tokens of a group, prompt and what is expected of its answers. */
export type ExpectedTokens = (group: SequenceGroup) => number;

/** What owners have had, by owner. */
type Credits = Map<SequenceGroup["owner"], number>;

/**
 * Owners get the same number of tokens, whatever the lengths of their requests: deficit round robin
 * (Shreedhar and Varghese 1995, SIGCOMM) over owners. The next group of an owner is admitted while
 * its credit is above 0, and takes its prompt and its expected answers off it; at its end the
 * credit is set right by what it has generated. When no owner that waits has credit, each gets a
 * quantum.
 *
 * An owner that has nothing waiting keeps no credit, and forgets its debt when its last group ends.
 * Owners of a higher priority come first, whatever the credits.
 *
 * Bound: of two owners of one priority with groups waiting all the while, one has at most
 * {@link QUANTUM} and twice the tokens of the largest group more admitted than the other. So the
 * next group of an owner waits for at most as many tokens of each other. A turn costs O(owners).
 */
export class FairPolicy implements SchedulingPolicy {
  readonly #expectedTokens: ExpectedTokens;
  readonly #credits: Credits = new Map();
  /** What each running group has taken off its owner's credit. */
  readonly #taken = new Map<SequenceGroup, number>();
  #owners: WaitingGroups["owners"] = () => [].values();

  constructor(expectedTokens: ExpectedTokens) {
    this.#expectedTokens = expectedTokens;
  }

  takeTurns({ preempted, owners }: WaitingGroups): AdmissionTurns {
    this.#owners = owners;
    return new PreemptedFirst(preempted, new CreditTurns(owners(), this.#credits));
  }

  order(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
    return orderInTurns(running);
  }

  admitted(group: SequenceGroup): void {
    const tokens = this.#expectedTokens(group);
    this.#taken.set(group, tokens);
    this.#change(group.owner, -tokens);
    this.#forget(group);
  }

  ended(group: SequenceGroup): void {
    const taken = this.#taken.get(group);
    this.#taken.delete(group);
    if (taken !== undefined) {
      const generated = group.members.reduce(
        (sum, { numOutputTokens }) => sum + numOutputTokens,
        0,
      );
      this.#change(group.owner, taken - group.numPromptTokens - generated);
    }
    this.#forget(group);
  }

  #change(owner: SequenceGroup["owner"], tokens: number): void {
    this.#credits.set(owner, (this.#credits.get(owner) ?? 0) + tokens);
  }

  /** After a change of a group's queue: its owner keeps what it may. */
  #forget({ owner }: SequenceGroup): void {
    const queue = this.#owners().find((other) => other.owner === owner);
    if (queue !== undefined && queue.waiting.length > 0) return;
    const credit = this.#credits.get(owner) ?? 0;
    if (queue === undefined) this.#credits.delete(owner);
    else this.#credits.set(owner, Math.min(0, credit));
  }
}

/** Turns of owners by their credits. */
class CreditTurns extends OwnerTurns {
  readonly #credits: Credits;

  constructor(owners: Iterable<OwnerQueue>, credits: Credits) {
    super(owners);
    this.#credits = credits;
  }

  /** Of the highest priority, the owner with the most credit; between equals the earliest. */
  protected nextQueue(): OwnerQueue | undefined {
    const waiting = this.owners.filter((queue) => this.firstOf(queue) !== undefined);
    if (waiting.length === 0) return undefined;
    const highest = Math.max(...waiting.map((queue) => this.firstOf(queue)!.ownerPriority));
    const rivals = waiting.filter((queue) => this.firstOf(queue)!.ownerPriority === highest);
    this.#payOut(rivals);
    return rivals.reduce((best, queue) => this.#compare(queue, best) < 0 ? queue : best);
  }

  /** Gives as many quanta as it takes for one of them to have credit. */
  #payOut(rivals: readonly OwnerQueue[]): void {
    const most = Math.max(...rivals.map(({ owner }) => this.#credits.get(owner) ?? 0));
    if (most > 0) return;
    const numRounds = Math.floor(-most / QUANTUM) + 1;
    for (const { owner } of rivals) {
      this.#credits.set(owner, (this.#credits.get(owner) ?? 0) + numRounds * QUANTUM);
    }
  }

  #compare(a: OwnerQueue, b: OwnerQueue): number {
    const credit = ({ owner }: OwnerQueue) => this.#credits.get(owner) ?? 0;
    return credit(b) - credit(a) || this.firstOf(a)!.id - this.firstOf(b)!.id;
  }
}

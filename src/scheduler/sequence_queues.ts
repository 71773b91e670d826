import { invariant, InvariantError } from "../base/invariant.ts";
import type { RequestId } from "../core/ids.ts";
import type { AdmissionTurns } from "./policies/admission_turns.ts";
import type { SchedulingPolicy } from "./policies/scheduling_policy.ts";
import type { SequenceGroup } from "./sequence_group.ts";
import { WaitingQueue } from "./waiting_queue.ts";

/**
 * The groups that wait and those that run.
 *
 *     add -> waiting ---- admit -----> running -- end --> finished
 *               ^------- preempt --------'
 *
 * Every unfinished group stands in exactly one of the two queues and under its request; its
 * `state` says where. Running groups stand in order of admission; whose turn it is among those that
 * wait, {@link WaitingQueue} says. Ending or admitting one costs O(queue of its owner).
 */
export class SequenceQueues {
  readonly #waiting: WaitingQueue;
  #numWaiting = 0;
  readonly #running: SequenceGroup[] = [];
  readonly #requests = new Map<RequestId, SequenceGroup[]>();

  /** @param policy in whose order groups are admitted; default: first come, first served. */
  constructor(policy?: SchedulingPolicy) {
    this.#waiting = new WaitingQueue(policy);
  }

  /** The admitted groups, earliest admission first; it changes as they are preempted and end. */
  get running(): readonly SequenceGroup[] {
    return this.#running;
  }

  /** Those that wait: the preempted ones, then owner by owner. O(groups). */
  get waiting(): readonly SequenceGroup[] {
    return this.#waiting.groups;
  }

  /** Groups that wait, preempted ones included. */
  get numWaiting(): number {
    return this.#numWaiting;
  }

  /** Groups that wait or run. */
  get numUnfinished(): number {
    return this.#numWaiting + this.#running.length;
  }

  /** Answers of an owner that wait, preempted ones and all those of a search included. */
  numAnswersWaiting(owner: SequenceGroup["owner"]): number {
    return this.#waiting.numAnswersOf(owner);
  }

  /** Owners of which groups wait. O(owners with work in the engine). */
  get numOwnersWaiting(): number {
    return this.#waiting.numOwners;
  }

  /** The order in which those that wait are to be admitted. */
  takeTurns(): AdmissionTurns {
    return this.#waiting.takeTurns();
  }

  /** The unfinished groups of a request; none if it is unknown or has ended. */
  ofRequest(requestId: RequestId): readonly SequenceGroup[] {
    return this.#requests.get(requestId) ?? [];
  }

  /** Puts the groups of one request at the end of those that wait. */
  add(requestId: RequestId, groups: readonly SequenceGroup[]): void {
    invariant(!this.#requests.has(requestId), `request ${requestId} is in the engine already`);
    invariant(groups.length > 0, `request ${requestId} has no sequences`);
    this.#requests.set(requestId, [...groups]);
    for (const group of groups) this.#waiting.add(group);
    this.#numWaiting += groups.length;
  }

  /** Moves a group that waits to the end of those that run. */
  admit(group: SequenceGroup): void {
    this.#waiting.admit(group);
    this.#numWaiting--;
    group.state = "running";
    this.#running.push(group);
  }

  /** Moves a group that runs to the front of those that wait. */
  preempt(group: SequenceGroup): void {
    remove(this.#running, group);
    group.state = "waiting";
    this.#waiting.preempt(group);
    this.#numWaiting++;
  }

  /** Forgets a group, wherever it stands. */
  end(group: SequenceGroup): void {
    const siblings = this.#requests.get(group.requestId)!;
    remove(siblings, group);
    if (siblings.length === 0) this.#requests.delete(group.requestId);
    this.#waiting.end(group);
    if (group.state === "running") remove(this.#running, group);
    else this.#numWaiting--;
    group.state = "finished";
  }

  /** Audit: each unfinished group stands once, where its state says. O(groups). */
  checkIntegrity(): void {
    const { waiting } = this;
    for (const group of waiting) checkState(group, "waiting");
    for (const group of this.#running) checkState(group, "running");
    this.#waiting.checkIntegrity(waiting, this.#running);
    const queued = new Set(waiting);
    for (const group of this.#running) queued.add(group);
    let numUnfinished = 0;
    let areQueued = true;
    for (const groups of this.#requests.values()) {
      numUnfinished += groups.length;
      for (const group of groups) areQueued &&= queued.has(group);
    }
    const isWhole = waiting.length === this.#numWaiting && queued.size === this.numUnfinished &&
      queued.size === numUnfinished && areQueued;
    if (!isWhole) {
      throw new InvariantError(
        `${waiting.length} groups wait, counted are ${this.#numWaiting}; ${queued.size} are in queues ` +
          `that count ${this.numUnfinished}, ${numUnfinished} are unfinished`,
      );
    }
  }
}

function checkState(group: SequenceGroup, expected: SequenceGroup["state"]): void {
  const { id, state, numComputedTokens, numTokens } = group;
  if (state !== expected) {
    throw new InvariantError(`group ${id} is ${state} and stands among the ${expected}`);
  }
  if (numComputedTokens >= (state === "waiting" ? 1 : numTokens)) {
    throw new InvariantError(
      `group ${id} is ${state} with ${numComputedTokens} of ${numTokens} tokens computed`,
    );
  }
}

function remove(list: SequenceGroup[], group: SequenceGroup): void {
  const at = list.indexOf(group);
  invariant(at >= 0, `group ${group.id} is not where its state ${group.state} says`);
  list.splice(at, 1);
}

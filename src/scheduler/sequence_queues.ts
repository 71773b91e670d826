import { invariant } from "../base/invariant.ts";
import type { RequestId } from "../core/ids.ts";
import type { Sequence } from "./sequence.ts";
import { type AdmissionTurns, WaitingQueue } from "./waiting_queue.ts";

/**
 * Who waits and who runs.
 *
 *     add -> waiting ---- admit -----> running -- end --> finished
 *               ^----- preemptLast ------'
 *
 * Every unfinished sequence stands in exactly one of the two queues and under its request; its
 * `state` says where. Running sequences stand in order of admission; whose turn it is among those that
 * wait, {@link WaitingQueue} says. Ending or admitting one costs O(queue of its owner).
 */
export class SequenceQueues {
  readonly #waiting = new WaitingQueue();
  #numWaiting = 0;
  readonly #running: Sequence[] = [];
  readonly #requests = new Map<RequestId, Sequence[]>();

  /** The admitted sequences, earliest admission first; it changes as they are preempted and end. */
  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** Those that wait: the preempted ones, then owner by owner. O(sequences). */
  get waiting(): readonly Sequence[] {
    return this.#waiting.sequences;
  }

  /** Entries that wait, preempted ones included. */
  get numWaiting(): number {
    return this.#numWaiting;
  }

  /** Entries that wait or run. */
  get numUnfinished(): number {
    return this.#numWaiting + this.#running.length;
  }

  /** Answers of an owner that wait, preempted ones and all those of a search included. */
  numAnswersWaiting(owner: Sequence["owner"]): number {
    return this.#waiting.numAnswersOf(owner);
  }

  /** The order in which those that wait are to be admitted. */
  takeTurns(): AdmissionTurns {
    return this.#waiting.takeTurns();
  }

  /** The unfinished sequences of a request; none if it is unknown or has ended. */
  ofRequest(requestId: RequestId): readonly Sequence[] {
    return this.#requests.get(requestId) ?? [];
  }

  /** Puts the sequences of one request at the end of those that wait. */
  add(requestId: RequestId, sequences: readonly Sequence[]): void {
    invariant(!this.#requests.has(requestId), `request ${requestId} is in the engine already`);
    invariant(sequences.length > 0, `request ${requestId} has no sequences`);
    this.#requests.set(requestId, [...sequences]);
    for (const sequence of sequences) this.#waiting.add(sequence);
    this.#numWaiting += sequences.length;
  }

  /** Moves a sequence that waits to the end of those that run. */
  admit(sequence: Sequence): void {
    this.#waiting.admit(sequence);
    this.#numWaiting--;
    sequence.state = "running";
    this.#running.push(sequence);
  }

  /** Moves the latest admitted to the front of those that wait, and returns it. */
  preemptLast(): Sequence {
    const sequence = this.#running.pop()!;
    sequence.state = "waiting";
    this.#waiting.preempt(sequence);
    this.#numWaiting++;
    return sequence;
  }

  /** Forgets a sequence, wherever it stands. */
  end(sequence: Sequence): void {
    const siblings = this.#requests.get(sequence.requestId)!;
    remove(siblings, sequence);
    if (siblings.length === 0) this.#requests.delete(sequence.requestId);
    this.#waiting.end(sequence);
    if (sequence.state === "running") remove(this.#running, sequence);
    else this.#numWaiting--;
    sequence.state = "finished";
  }

  /** Audit: each unfinished sequence stands once, where its state says. O(sequences). */
  checkIntegrity(): void {
    const { waiting } = this;
    for (const sequence of waiting) checkState(sequence, "waiting");
    for (const sequence of this.#running) checkState(sequence, "running");
    this.#waiting.checkIntegrity(this.#running);
    const queued = new Set([...waiting, ...this.#running]);
    const unfinished = [...this.#requests.values()].flat();
    invariant(
      waiting.length === this.#numWaiting && queued.size === this.numUnfinished &&
        queued.size === unfinished.length && unfinished.every((sequence) => queued.has(sequence)),
      `${this.numUnfinished} places in queues, ${unfinished.length} unfinished sequences`,
    );
  }
}

function checkState(sequence: Sequence, expected: Sequence["state"]): void {
  const { id, state, numComputedTokens, numTokens } = sequence;
  invariant(state === expected, `sequence ${id} is ${state} and stands among the ${expected}`);
  invariant(
    numComputedTokens < (state === "waiting" ? 1 : numTokens),
    `sequence ${id} is ${state} with ${numComputedTokens} of ${numTokens} tokens computed`,
  );
}

function remove(list: Sequence[], sequence: Sequence): void {
  const at = list.indexOf(sequence);
  invariant(at >= 0, `sequence ${sequence.id} is not where its state ${sequence.state} says`);
  list.splice(at, 1);
}

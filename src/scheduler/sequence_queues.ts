import { invariant } from "../base/invariant.ts";
import type { RequestId } from "../core/ids.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Who waits and who runs.
 *
 *     add -> waiting ---- admit -----> running -- end --> finished
 *               ^----- preemptLast ------'
 *
 * Every unfinished sequence stands in exactly one of the two queues and under its request; its
 * `state` says where. Running sequences stand in order of admission. Ending one and admitting one from
 * the midst of those that wait costs O(queue); the other operations cost O(1), apart from moving the
 * ids of the waiting ones up or down a place.
 */
export class SequenceQueues {
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #requests = new Map<RequestId, Sequence[]>();

  /** The admitted sequences, earliest admission first; it changes as they are preempted and end. */
  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** Those that wait, the next to be admitted first; it changes as they are admitted and end. */
  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  /** Sequences that wait, preempted ones included. */
  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** Sequences that wait or run. */
  get numUnfinished(): number {
    return this.#waiting.length + this.#running.length;
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
    this.#waiting.push(...sequences);
  }

  /** Moves a sequence that waits to the end of those that run. */
  admit(sequence: Sequence): void {
    remove(this.#waiting, sequence);
    sequence.state = "running";
    this.#running.push(sequence);
  }

  /** Moves the latest admitted to the front of those that wait, and returns it. */
  preemptLast(): Sequence {
    const sequence = this.#running.pop()!;
    sequence.state = "waiting";
    this.#waiting.unshift(sequence);
    return sequence;
  }

  /** Forgets a sequence, wherever it stands. */
  end(sequence: Sequence): void {
    const siblings = this.#requests.get(sequence.requestId)!;
    remove(siblings, sequence);
    if (siblings.length === 0) this.#requests.delete(sequence.requestId);
    remove(sequence.state === "running" ? this.#running : this.#waiting, sequence);
    sequence.state = "finished";
  }

  /** Audit: each unfinished sequence stands once, where its state says. O(sequences). */
  checkIntegrity(): void {
    for (const sequence of this.#waiting) checkState(sequence, "waiting");
    for (const sequence of this.#running) checkState(sequence, "running");
    const queued = new Set([...this.#waiting, ...this.#running]);
    const unfinished = [...this.#requests.values()].flat();
    invariant(
      queued.size === this.numUnfinished && queued.size === unfinished.length &&
        unfinished.every((sequence) => queued.has(sequence)),
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

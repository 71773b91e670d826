import { invariant } from "../base/invariant.ts";
import type { ErrorData } from "../core/errors.ts";
import { RequestError } from "../core/errors.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The groups that have a deadline, the next one first. Adding or removing one costs O(log n). */
export class Deadlines {
  readonly #groups: SequenceGroup[] = [];

  /** A group has been queued; one without a deadline is not kept. */
  add(group: SequenceGroup): void {
    if (group.deadlineMs !== undefined) this.#groups.splice(this.#indexOf(group), 0, group);
  }

  /** A group has ended. */
  remove(group: SequenceGroup): void {
    if (group.deadlineMs === undefined) return;
    const at = this.#indexOf(group);
    invariant(this.#groups[at] === group, `group ${group.id} has a deadline that is not kept`);
    this.#groups.splice(at, 1);
  }

  /** The groups whose deadline has passed; they stay until they are removed. */
  overdue(nowMs: number): readonly SequenceGroup[] {
    if ((this.#groups[0]?.deadlineMs ?? Infinity) > nowMs) return [];
    const numOverdue = this.#groups.findIndex(({ deadlineMs }) => deadlineMs! > nowMs);
    return this.#groups.slice(0, numOverdue < 0 ? this.#groups.length : numOverdue);
  }

  /** Where a group stands, or is to be inserted. */
  #indexOf({ deadlineMs, id }: SequenceGroup): number {
    let [low, high] = [0, this.#groups.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#groups[middle]!;
      const isBefore = other.deadlineMs! < deadlineMs! ||
        (other.deadlineMs === deadlineMs && other.id < id);
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The error of a group whose deadline has passed, with what it had got by then. */
export function deadlineExceeded({ state, members, timeoutMs }: SequenceGroup): ErrorData {
  const where = state === "waiting" ? "the request waited in the queue" : "the request ran";
  return timeoutPassed(timeoutMs!, members[0]!.numOutputTokens, where);
}

/** The error of an answer whose timeout has passed after so many tokens, while `where` was so. */
export function timeoutPassed(
  timeoutMs: number,
  numOutputTokens: number,
  where: string,
): ErrorData {
  const seconds = timeoutMs / 1000;
  return new RequestError(
    `The timeout of ${seconds} s has passed while ${where}, after ${numOutputTokens} tokens of ` +
      `its answer`,
    {
      status: 504,
      type: "server_error",
      code: "deadline_exceeded",
      param: "timeout",
      details: { timeout_seconds: seconds, n_tokens: numOutputTokens },
    },
  ).data;
}

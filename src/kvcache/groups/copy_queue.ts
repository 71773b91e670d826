import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";

/** One block of a group to be copied to another by the device. */
export interface GroupCopy {
  readonly group: number;
  readonly from: BlockId;
  readonly to: BlockId;
}

/**
 * Copies that the device has to make, as data, from the moment they are decided until they are done.
 *
 * Whoever adds one holds a reference to both ends until it is finished, so that neither is handed
 * out before. Copies are made in the order in which they were added, ahead of the step's chunks.
 */
export class CopyQueue {
  #waiting: GroupCopy[] = [];
  readonly #taken = new Set<GroupCopy>();

  /** Copies that are not finished yet. */
  get numUnfinished(): number {
    return this.#waiting.length + this.#taken.size;
  }

  /** Appends a copy. */
  add(copy: GroupCopy): void {
    this.#waiting.push(copy);
  }

  /** Whether a copy that reads or writes this block waits to be taken. O(copies waiting). */
  isWaitingFor(group: number, id: BlockId): boolean {
    return this.#waiting.some((copy) =>
      copy.group === group && (copy.from === id || copy.to === id)
    );
  }

  /** Hands out the copies that wait, to go with the next step. */
  take(): readonly GroupCopy[] {
    const copies = this.#waiting;
    this.#waiting = [];
    for (const copy of copies) this.#taken.add(copy);
    return copies;
  }

  /** Ends copies that were taken and that the device has made. */
  finish(copies: readonly GroupCopy[]): void {
    for (const copy of copies) {
      const isTaken = this.#taken.delete(copy);
      invariant(isTaken, `copy of block ${copy.from} to ${copy.to} is finished, not taken`);
    }
  }

  /** The copies that are not finished yet. */
  *unfinished(): Generator<GroupCopy> {
    yield* this.#taken;
    yield* this.#waiting;
  }
}

import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";

/**
 * The state of a block in one number, so that a pool keeps one column: twice its references, and
 * one more where it is marked as cached. 0 means free, {@link MARK} idle.
 */
export const MARK = 1;
/** What a reference adds to a block's state. */
export const REFERENCE = 2;

/** The state with one reference less. @throws {InvariantError} without any. */
export function dropReference(state: number, id: BlockId): number {
  if (state < REFERENCE) throw new InvariantError(`double release of block ${id}`);
  return state - REFERENCE;
}

/** The state with a mark. @throws {InvariantError} for a block that is marked or unheld. */
export function addMark(state: number, id: BlockId): number {
  if (state < REFERENCE || state % 2 === MARK) {
    throw new InvariantError(`block ${id} with state ${state} is to be marked`);
  }
  return state + MARK;
}

/** The state without its mark. @throws {InvariantError} for a block without one. */
export function dropMark(state: number, id: BlockId): number {
  if (state % 2 !== MARK) throw new InvariantError(`block ${id} is unmarked twice`);
  return state - MARK;
}

import { type BlockMap, NO_SEQUENCE } from "../../core/engine_view.ts";

/** A map of `numBlocks` blocks that hold nothing. */
export function emptyMap(numBlocks: number): BlockMap {
  return {
    states: new Uint8Array(numBlocks),
    holders: new Uint8Array(numBlocks),
    firstHolders: new Int32Array(numBlocks).fill(NO_SEQUENCE),
  };
}

/**
 * What makes one map of blocks of another of the same size, as runs of alike blocks:
 *
 *     numbers   skip | length, state, holders, owner + 1 | skip | ...
 *
 * `skip` blocks have not changed, then `length` blocks have become this. Each number is written in
 * groups of 7 bits, the lowest first, with the high bit set in all bytes but the last (LEB128). So
 * a pool of any size that is used in large runs takes few bytes, and at worst a block takes about
 * 7. O(blocks).
 */
export function encodeChanges(before: BlockMap, after: BlockMap): Uint8Array {
  const numbers = new NumberWriter();
  const { states, holders, firstHolders } = after;
  const numBlocks = states.length;
  let done = 0;
  for (let id = 0; id < numBlocks;) {
    if (isAlike(before, id, after, id)) {
      id++;
      continue;
    }
    let end = id + 1;
    while (end < numBlocks && isAlike(after, id, after, end)) end++;
    numbers.write(id - done);
    numbers.write(end - id);
    numbers.write(states[id]!);
    numbers.write(holders[id]!);
    numbers.write(firstHolders[id]! + 1);
    id = done = end;
  }
  return numbers.bytes;
}

function isAlike(a: BlockMap, i: number, b: BlockMap, j: number): boolean {
  return a.states[i] === b.states[j] && a.holders[i] === b.holders[j] &&
    a.firstHolders[i] === b.firstHolders[j];
}

/** Writes natural numbers below 2^32 one behind the other. */
class NumberWriter {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  write(value: number): void {
    if (this.#length + 5 > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) {
      this.#bytes[this.#length++] = rest % 128 + 128;
    }
    this.#bytes[this.#length++] = rest;
  }
}

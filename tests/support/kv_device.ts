import { assert, assertEquals } from "@std/assert";
import type { BlockCopy, BlockMove } from "../../src/core/batch.ts";
import { type CacheSpec, NO_BLOCK } from "../../src/core/cache_group.ts";
import type { BlockId } from "../../src/core/ids.ts";
import type { Prefix } from "./block_keys.ts";

type Tables = readonly (readonly BlockId[])[];

/** Of which tokens it was computed, or which part of an input's output it is. */
type Content = Prefix | string;

/** What a slot holds that nothing was written to. */
const NOTHING = "nothing";

/**
 * A device without arithmetic: for every slot in every group's blocks it remembers of which tokens
 * the content was computed, so that whatever a step reads is compared with what it must read.
 *
 * A slot of attention is one position of a block and holds the tokens up to that position; a state
 * is a whole block and holds all tokens so far. What a sequence reads besides its tokens makes them
 * other prefixes. A slot of an encoder's output holds the input's name and the position.
 */
export class KvDevice {
  readonly #groups: readonly CacheSpec[];
  readonly #blockSize: number;
  /** Per group, `[block][offset]`, with gaps where nothing was written. */
  #contents: Content[][];

  constructor(groups: readonly CacheSpec[], blockSize: number) {
    this.#groups = groups;
    this.#blockSize = blockSize;
    this.#contents = groups.map(() => []);
  }

  /** Makes copies, all reads before all writes: no order among them is promised. */
  copy(copies: readonly BlockCopy[]): void {
    if (copies.length === 0) return;
    const written = new Set(copies.map(({ group, to }) => `${group}:${to}`));
    assertEquals(written.size, copies.length, "a block is copied to twice");
    const read = copies.map(({ group, from, numTokens }) => {
      assert(!written.has(`${group}:${from}`), "a block is both read and written by copies");
      const first = from * this.#blockSize;
      return Array.from({ length: numTokens }, (_, i) => this.#contents[group]![first + i]);
    });
    copies.forEach(({ group, to }, i) =>
      read[i]!.forEach((content, offset) => {
        this.#contents[group]![to * this.#blockSize + offset] = content ?? NOTHING;
      })
    );
  }

  /**
   * Moves whole blocks, of which none is both left and moved to; what is beyond the end is gone.
   */
  resize(moves: readonly BlockMove[], numBlocks: readonly number[]): void {
    const size = this.#blockSize;
    const next = this.#contents.map((slots, group) => slots.slice(0, numBlocks[group]! * size));
    for (const { group, from, to } of moves) {
      assert(to < numBlocks[group]!, `block ${to} of group ${group} is beyond the end`);
      for (let i = 0; i < size; i++) {
        const content = this.#contents[group]![from * size + i];
        if (content !== undefined) next[group]![to * size + i] = content;
      }
    }
    this.#contents = next;
  }

  /**
   * Computes positions `[start, end)` of a prompt: reads what each group reads, and writes.
   *
   * @param prefixes its first 0, 1, ... tokens, at least `end` of them.
   */
  compute(prefixes: readonly Prefix[], start: number, end: number, tables: Tables): void {
    this.#groups.forEach((cache, group) => {
      const table = tables[group]!;
      if (cache.kind === "state") {
        this.#advance(start > 0 ? prefixes[start] : undefined, prefixes[end]!, group, table[0]!);
      } else if (cache.kind !== "encoder") {
        for (let p = start; p < end; p++) this.#set(group, table, p, prefixes[p + 1]!);
        for (let p = 0; p < end; p++) {
          if (!isRead(cache, p, start, end)) continue;
          if (this.#get(group, table, p) === prefixes[p + 1]) continue;
          throw new Error(`position ${p} of ${cache.kind} ${group} is of other tokens`);
        }
      }
    });
  }

  /** Writes the output for an input, of so many positions. */
  encode(group: number, key: string, numTokens: number, blocks: readonly BlockId[]): void {
    for (let p = 0; p < numTokens; p++) this.#set(group, blocks, p, `${key} at ${p}`);
  }

  /** Reads all of it, and asserts that it is that. */
  readInput(group: number, key: string, numTokens: number, blocks: readonly BlockId[]): void {
    for (let p = 0; p < numTokens; p++) {
      assertEquals(this.#get(group, blocks, p), `${key} at ${p}`, `input ${key} of group ${group}`);
    }
  }

  #advance(before: Prefix | undefined, after: Prefix, group: number, block: BlockId): void {
    const slots = this.#contents[group]!;
    const first = block * this.#blockSize;
    assert(before === undefined || slots[first] === before, "a state is of other tokens");
    for (let i = 0; i < this.#blockSize; i++) slots[first + i] = after;
  }

  #set(group: number, table: readonly BlockId[], position: number, content: Content): void {
    this.#contents[group]![this.#slot(group, table, position)] = content;
  }

  #get(group: number, table: readonly BlockId[], position: number): Content {
    return this.#contents[group]![this.#slot(group, table, position)] ?? NOTHING;
  }

  #slot(group: number, table: readonly BlockId[], position: number): number {
    const id = table[Math.floor(position / this.#blockSize)];
    if (id === undefined || id === NO_BLOCK) {
      throw new Error(`position ${position} of group ${group} is gone`);
    }
    return id * this.#blockSize + position % this.#blockSize;
  }
}

/** Whether any query at `[start, end)` reads position `p`. */
function isRead(cache: CacheSpec, p: number, start: number, end: number): boolean {
  for (let query = Math.max(start, p); query < end; query++) {
    const isReadHere = cache.kind === "sliding_window"
      ? p > query - cache.window || p < (cache.numSinkTokens ?? 0)
      : cache.kind !== "chunked_local" || p >= query - query % cache.window;
    if (isReadHere) return true;
  }
  return false;
}

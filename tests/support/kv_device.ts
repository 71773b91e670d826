import { assert, assertEquals } from "@std/assert";
import type { BlockCopy, BlockMove } from "../../src/core/batch.ts";
import { type CacheSpec, NO_BLOCK } from "../../src/core/cache_group.ts";
import type { BlockId } from "../../src/core/ids.ts";

type Tables = readonly (readonly BlockId[])[];

/**
 * A device without arithmetic: for every place in every group's blocks it remembers of which tokens
 * the content was computed, so that whatever a step reads is compared with what it must read.
 *
 * A place of attention is one position of a block and holds the tokens up to that position; a state
 * is a whole block and holds all tokens so far. What a sequence reads besides its tokens is named
 * beside them. A place of an encoder's output holds the input's name and the position.
 */
export class KvDevice {
  readonly #groups: readonly CacheSpec[];
  readonly #blockSize: number;
  #contents = new Map<string, string>();

  constructor(groups: readonly CacheSpec[], blockSize: number) {
    this.#groups = groups;
    this.#blockSize = blockSize;
  }

  /** Makes copies, all reads before all writes: no order among them is promised. */
  copy(copies: readonly BlockCopy[]): void {
    const written = new Set(copies.map(({ group, to }) => `${group}:${to}`));
    assertEquals(written.size, copies.length, "a block is copied to twice");
    const read = copies.map(({ group, from, numTokens }) => {
      assert(!written.has(`${group}:${from}`), "a block is both read and written by copies");
      return Array.from(
        { length: numTokens },
        (_, i) => this.#contents.get(`${group}:${from}:${i}`) ?? "nothing",
      );
    });
    copies.forEach(({ group, to }, i) =>
      read[i]!.forEach((content, offset) => this.#contents.set(`${group}:${to}:${offset}`, content))
    );
  }

  /**
   * Moves whole blocks, of which none is both left and moved to; what is beyond the end is gone.
   */
  resize(moves: readonly BlockMove[], numBlocks: readonly number[]): void {
    const next = new Map<string, string>();
    for (const [place, content] of this.#contents) {
      const [group, id] = place.split(":").map(Number);
      if (id! < numBlocks[group!]!) next.set(place, content);
    }
    for (const { group, from, to } of moves) {
      assert(to < numBlocks[group]!, `block ${to} of group ${group} is beyond the end`);
      for (let i = 0; i < this.#blockSize; i++) {
        const content = this.#contents.get(`${group}:${from}:${i}`);
        if (content !== undefined) next.set(`${group}:${to}:${i}`, content);
      }
    }
    this.#contents = next;
  }

  /** Computes positions `[start, end)` of `tokens`: reads what each group reads, and writes. */
  compute(
    tokens: readonly number[],
    start: number,
    end: number,
    tables: Tables,
    inputs: string = "",
  ): void {
    const named = (length: number) => inputs + prefixOf(tokens, length);
    this.#groups.forEach((cache, group) => {
      const table = tables[group]!;
      if (cache.kind === "state") {
        this.#advance(start > 0 ? named(start) : undefined, named(end), `${group}:${table[0]}`);
      } else if (cache.kind !== "encoder") {
        for (let p = start; p < end; p++) this.#set(group, table, p, named(p + 1));
        for (const p of readBy(cache, start, end)) {
          const found = this.#get(group, table, p);
          assertEquals(found, named(p + 1), `position ${p} of ${cache.kind} ${group}`);
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

  #advance(before: string | undefined, after: string, block: string): void {
    if (before !== undefined) {
      assertEquals(this.#contents.get(`${block}:0`), before, "state before a step");
    }
    for (let i = 0; i < this.#blockSize; i++) this.#contents.set(`${block}:${i}`, after);
  }

  #set(group: number, table: readonly BlockId[], position: number, content: string): void {
    this.#contents.set(this.#place(group, table, position), content);
  }

  #get(group: number, table: readonly BlockId[], position: number): string {
    return this.#contents.get(this.#place(group, table, position)) ?? "nothing";
  }

  #place(group: number, table: readonly BlockId[], position: number): string {
    const id = table[Math.floor(position / this.#blockSize)];
    assert(id !== undefined && id !== NO_BLOCK, `position ${position} of group ${group} is gone`);
    return `${group}:${id}:${position % this.#blockSize}`;
  }
}

/** Names the first `length` of `tokens`. */
export function prefixOf(tokens: readonly number[], length: number): string {
  return tokens.slice(0, length).join(" ");
}

/** The positions that queries at `[start, end)` read, one by one. */
function readBy(cache: CacheSpec, start: number, end: number): Set<number> {
  const read = new Set<number>();
  for (let query = start; query < end; query++) {
    for (let p = 0; p <= query; p++) {
      const isRead = cache.kind === "sliding_window"
        ? p > query - cache.window || p < (cache.numSinkTokens ?? 0)
        : cache.kind !== "chunked_local" || p >= query - query % cache.window;
      if (isRead) read.add(p);
    }
  }
  return read;
}

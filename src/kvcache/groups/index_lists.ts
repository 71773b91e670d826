import { invariant, InvariantError } from "../../base/invariant.ts";

/** What {@link IndexLists.listOf} answers for an item that is on no list. */
export const NO_LIST = -1;

/**
 * Several lists over the items `[0, numItems)`, each item on one of them at most.
 *
 * Rings whose links live in two arrays indexed by item, list `l` closed through a sentinel
 * `numItems + l`; so an item leaves from the middle without a search. Every operation is O(1) and
 * allocates nothing, no message for a check that holds either; memory is 10 bytes per item.
 */
export class IndexLists {
  readonly numItems: number;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #listOf: Int16Array;
  readonly #counts: Uint32Array;

  /** Empty lists `[0, numLists)`. */
  constructor(numItems: number, numLists: number) {
    this.numItems = numItems;
    this.#next = Int32Array.from({ length: numItems + numLists }, (_, node) => node);
    this.#prev = Int32Array.from(this.#next);
    this.#listOf = new Int16Array(numItems).fill(NO_LIST);
    this.#counts = new Uint32Array(numLists);
  }

  /** How many items are on `list`. */
  count(list: number): number {
    return this.#counts[list]!;
  }

  /** The list that `item` is on, or {@link NO_LIST}. */
  listOf(item: number): number {
    return this.#listOf[item]!;
  }

  /** The first item of `list`, or undefined when it is empty. */
  first(list: number): number | undefined {
    const item = this.#next[this.numItems + list]!;
    return item < this.numItems ? item : undefined;
  }

  /** Puts `item` before all others of `list`. */
  putFirst(list: number, item: number): void {
    const sentinel = this.numItems + list;
    this.#insert(list, item, sentinel, this.#next[sentinel]!);
  }

  /** Puts `item` behind all others of `list`. */
  putLast(list: number, item: number): void {
    const sentinel = this.numItems + list;
    this.#insert(list, item, this.#prev[sentinel]!, sentinel);
  }

  /** Takes `item` off its list, wherever it stands. */
  remove(item: number): void {
    const list = this.#listOf[item]!;
    if (list === NO_LIST) throw new InvariantError(`item ${item} is on no list`);
    this.#link(this.#prev[item]!, this.#next[item]!);
    this.#listOf[item] = NO_LIST;
    this.#counts[list]!--;
  }

  /** The items of `list`, first to last. */
  *items(list: number): Generator<number> {
    const sentinel = this.numItems + list;
    for (let item = this.#next[sentinel]!; item !== sentinel; item = this.#next[item]!) yield item;
  }

  /** Audit: each list is one ring of the items that say they are on it. O(items). */
  checkIntegrity(): void {
    const numListed = new Uint32Array(this.#counts.length);
    for (const list of this.#listOf) if (list !== NO_LIST) numListed[list]!++;
    for (let list = 0; list < this.#counts.length; list++) {
      let numSeen = 0;
      let before = this.numItems + list;
      for (const item of this.items(list)) {
        if (this.#listOf[item] !== list || this.#prev[item] !== before) break;
        if (++numSeen > this.#counts[list]!) break;
        before = item;
      }
      invariant(
        numSeen === this.#counts[list] && numListed[list] === numSeen &&
          this.#prev[this.numItems + list] === before,
        `list ${list} of ${this.#counts[list]} items breaks after ${numSeen}, at item ${before}`,
      );
    }
  }

  #insert(list: number, item: number, before: number, after: number): void {
    const listed = this.#listOf[item]!;
    if (listed !== NO_LIST) throw new InvariantError(`item ${item} is on list ${listed}`);
    this.#link(before, item);
    this.#link(item, after);
    this.#listOf[item] = list;
    this.#counts[list]!++;
  }

  #link(from: number, to: number): void {
    this.#next[from] = to;
    this.#prev[to] = from;
  }
}

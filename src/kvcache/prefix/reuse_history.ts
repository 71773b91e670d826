/** Ages in milliseconds fall into ranges that double: below 1, below 2, below 4 and so on. */
const NUM_RANGES = 40;
/** Blocks that are assumed beside those noted, each found once in the longest age of its range. */
const PRIOR = 10;

/**
 * How often idle blocks of one kind were found again, by how long they had been idle.
 *
 *     age          0 .. 1 s     1 .. 2 s     2 .. 4 s
 *     found           5            9            1
 *     went            -            1            4        evicted, or found: both end the wait
 *     rate        5 in 20 s    9 in 15 s     1 in 10 s   per second that any of them waited
 *
 * As in a life table: an evicted block says nothing of what would have come after. Noting is O(1),
 * a rate O(ranges).
 */
export class ReuseHistory {
  readonly #found = new Float64Array(NUM_RANGES);
  readonly #ended = new Float64Array(NUM_RANGES);
  #numEnds = 0;

  /** What has been noted counts half after so many ends. */
  constructor(public halfLife: number) {}

  /** A block is idle no more, after `ageMs`: it was used again, or evicted. */
  noteEnd(ageMs: number): void {
    this.#ended[rangeOf(ageMs)]!++;
    if (++this.#numEnds < this.halfLife) return;
    this.#numEnds = 0;
    for (let i = 0; i < NUM_RANGES; i++) {
      this.#found[i]! /= 2;
      this.#ended[i]! /= 2;
    }
  }

  /** A prompt has found a block that was idle for `ageMs`. */
  noteFound(ageMs: number): void {
    this.#found[rangeOf(ageMs)]!++;
  }

  /**
   * How often a block that has been idle for so long is found again, per millisecond. Where nothing
   * is known it falls with age.
   */
  rate(ageMs: number): number {
    const range = rangeOf(ageMs);
    const [from, to] = [range === 0 ? 0 : 2 ** (range - 1), 2 ** range];
    let numBeyond = 0;
    for (let i = range + 1; i < NUM_RANGES; i++) numBeyond += this.#ended[i]!;
    const waitedMs = (to - from) * (numBeyond + this.#ended[range]! / 2);
    return (this.#found[range]! + PRIOR) / (waitedMs + PRIOR * to);
  }
}

function rangeOf(ageMs: number): number {
  return ageMs < 1 ? 0 : Math.min(NUM_RANGES - 1, Math.floor(Math.log2(ageMs)) + 1);
}

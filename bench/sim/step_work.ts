/** Positions of a block as costs count them, whatever the blocks of a pool are. */
export const COST_BLOCK = 16;

/** What one step computes and what memory is held meanwhile: all that a simulation asks of it. */
export interface StepWork {
  /** Sequences that advance. */
  readonly numSequences: number;
  /** Positions computed. */
  readonly numTokens: number;
  /** Pairs of a computed position and one that it attends to. */
  readonly numPairs: number;
  /** Blocks of {@link COST_BLOCK} positions read, each once per sequence. */
  readonly numBlocks: number;
  /** Blocks of {@link COST_BLOCK} positions copied to host memory and back. Absent: none. */
  readonly numSwapped?: number;
  /** Positions of memory that sequences hold, shared ones once. */
  readonly numHeld: number;
  /** Those of them that have no key and value yet. */
  readonly numEmpty: number;
}

/** A part of a sequence that one step computes: `count` positions from `start` on. */
export interface Span {
  readonly start: number;
  readonly count: number;
}

/** What the spans of a step cost: its share of {@link StepWork}. */
export function workOf(
  spans: Iterable<Span>,
): Omit<StepWork, "numHeld" | "numEmpty"> {
  let [numSequences, numTokens, numPairs, numBlocks] = [0, 0, 0, 0];
  for (const { start, count } of spans) {
    numSequences++;
    numTokens += count;
    numPairs += count * start + count * (count + 1) / 2;
    numBlocks += Math.ceil((start + count) / COST_BLOCK);
  }
  return { numSequences, numTokens, numPairs, numBlocks };
}

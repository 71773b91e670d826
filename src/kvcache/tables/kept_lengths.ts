import { alignDown } from "../../base/math.ts";
import type { Hit } from "../prefix/longest_hit.ts";

/**
 * Lengths behind a hit at which later ones may end, ascending: where the tokens part from others,
 * and the last that the same tokens can find (Marconi, arXiv:2411.19379).
 */
export function keptLengths({ nodes, numKnown }: Hit, numTokens: number, blockSize: number) {
  const lengths = [numKnown * blockSize, alignDown(numTokens - 1, blockSize)];
  return lengths.filter((length, i) =>
    length > nodes.length * blockSize && lengths.indexOf(length) === i
  );
}

/** What says where states are kept. */
export interface StateGrain {
  readonly blockSize: number;
  /** Every so many tokens, a multiple of `blockSize`; absent: never. */
  readonly snapshotInterval: number | undefined;
}

/**
 * Where the chunks of a prompt are to end for the sake of states, ascending: at the lengths that
 * are kept, and every interval.
 */
export function snapshotChunkEnds(
  hit: Hit,
  numTokens: number,
  grain: StateGrain,
): readonly number[] {
  const { blockSize, snapshotInterval: interval = Infinity } = grain;
  const ends = new Set(keptLengths(hit, numTokens, blockSize));
  for (let end = interval; end < numTokens; end += interval) ends.add(end);
  const start = hit.nodes.length * blockSize;
  return [...ends].filter((end) => end > start).sort((a, b) => a - b);
}

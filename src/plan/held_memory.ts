import { alignUp } from "../base/math.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { RequestLengths } from "./request_lengths.ts";

/**
 * How memory is given to a sequence. `contiguous` reserves the longest length for each;
 * `power_of_two` the prompt and the output rounded up to a power of two, as a server with buddy
 * allocation and a good guess could; `exact` the prompt and the output, known beforehand, as an
 * oracle would (so its name in the benchmarks); `paged` takes block after block as the sequence
 * grows.
 */
export type Allocator = "contiguous" | "power_of_two" | "exact" | "paged";

/** Block sizes that plans and benchmarks compare, tokens. */
export const COMPARED_BLOCK_SIZES: readonly number[] = [8, 16, 32, 64, 128, 256];

/** Layers that share a window, by their part of the bytes of a token; all parts add up to 1. */
export interface WindowShare {
  readonly share: number;
  /** Positions that the layers read back; absent where they read all. */
  readonly window?: number;
}

const ALL_FULL: readonly WindowShare[] = [{ share: 1 }];

/** Memory that one allocator holds for some traffic; lengths in positions of all layers. */
export interface HeldMemory {
  readonly allocator: Allocator;
  /** Of `paged` alone. */
  readonly blockSize?: number;
  /** Share of the held memory whose keys and values will still be read, in [0, 1]. */
  readonly usefulShare: number;
  /** Positions that a running sequence holds on average. */
  readonly meanHeldLen: number;
}

/** Settings of {@link heldMemory}. */
export interface HeldMemoryOptions {
  /** Longest prompt and output together; no request may be longer. */
  readonly maxModelLen: number;
  readonly blockSizes?: readonly number[];
  /** What the layers read back; default: all of it. */
  readonly windows?: readonly WindowShare[];
}

/**
 * Compares what allocators hold for the same requests, over the requests' lives: the prompt is
 * there when a life begins, which lasts one unit of time per output token, while the sequence grows
 * evenly by one position per unit. So each request weighs as many steps as it decodes, and what is
 * compared is a server's memory at a random moment (Kwon et al. 2023, arXiv:2309.06180, figure 2).
 * Space lost between the pieces of a contiguous allocator is not counted, in its favour.
 *
 * O(requests * allocators), closed forms throughout. Empty for no requests.
 */
export function heldMemory(
  requests: readonly RequestLengths[],
  { maxModelLen, blockSizes = COMPARED_BLOCK_SIZES, windows = ALL_FULL }: HeldMemoryOptions,
): HeldMemory[] {
  if (requests.length === 0) return [];
  const useful = total(requests, (request) => usefulArea(request, windows));
  const lifetime = total(requests, ({ outputLen }) => outputLen);
  const reserved = (lenOf: (request: RequestLengths) => number) =>
    total(requests, (request) => request.outputLen * Math.min(maxModelLen, lenOf(request)));
  const row = (allocator: Allocator, held: number, blockSize?: number): HeldMemory => ({
    allocator,
    ...omitUndefined({ blockSize }),
    usefulShare: useful / held,
    meanHeldLen: held / lifetime,
  });
  return [
    row("contiguous", reserved(() => maxModelLen)),
    row("power_of_two", reserved((r) => r.promptLen + powerOfTwoAtLeast(r.outputLen))),
    row("exact", reserved((r) => r.promptLen + r.outputLen)),
    ...blockSizes.map((blockSize) =>
      row("paged", total(requests, (r) => pagedArea(r, blockSize, windows)), blockSize)
    ),
  ];
}

/** Integral over a life of the positions that are still read. */
function usefulArea({ promptLen, outputLen }: RequestLengths, windows: readonly WindowShare[]) {
  return total(windows, ({ share, window = Infinity }) => {
    const until = (len: number) => len <= window ? len ** 2 / 2 : window * (len - window / 2);
    return share * (until(promptLen + outputLen) - until(promptLen));
  });
}

/** Integral over a life of the positions in blocks held; blocks that a window has left are free. */
function pagedArea(
  { promptLen, outputLen }: RequestLengths,
  blockSize: number,
  windows: readonly WindowShare[],
): number {
  return total(windows, ({ share, window }) => {
    // One block more than the window fills: it rarely starts where a block does.
    const most = window === undefined ? Infinity : alignUp(window, blockSize) + blockSize;
    return share *
      (areaOfBlocks(promptLen + outputLen, blockSize, most) -
        areaOfBlocks(promptLen, blockSize, most));
  });
}

/**
 * Integral of `min(most, x rounded up to a block)` for x from 0 to `len`; `most` is whole blocks.
 */
function areaOfBlocks(len: number, blockSize: number, most: number): number {
  if (len > most) return areaOfBlocks(most, blockSize, most) + most * (len - most);
  const numFull = Math.floor(len / blockSize);
  const rest = len - numFull * blockSize;
  return blockSize ** 2 * numFull * (numFull + 1) / 2 + rest * blockSize * (numFull + 1);
}

function powerOfTwoAtLeast(value: number): number {
  return 2 ** Math.ceil(Math.log2(value));
}

function total<T>(items: readonly T[], valueOf: (item: T) => number): number {
  let sum = 0;
  for (const item of items) sum += valueOf(item);
  return sum;
}

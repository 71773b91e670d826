import type { KvFormat } from "../core/kv_layout.ts";
import {
  COMPARED_BLOCK_SIZES,
  type HeldMemory,
  heldMemory,
  type WindowShare,
} from "./held_memory.ts";
import { bytesPerToken, bytesPerTokenByGroup } from "./kv_dtypes.ts";
import { groupsOf, type ModelShape, windowOf } from "./model_shape.ts";
import { LENGTH_DISTRIBUTIONS, type RequestLengths, sampleLengths } from "./request_lengths.ts";

/** Requests under a name. */
export interface Traffic {
  readonly name: string;
  readonly requests: readonly RequestLengths[];
}

/** What allocators would hold for some traffic. */
export interface TrafficPlan {
  readonly name: string;
  /** Requests counted, and those left out because they are longer than `maxModelLen`. */
  readonly numRequests: number;
  readonly numTooLong: number;
  readonly meanPromptLen: number;
  readonly meanOutputLen: number;
  /** Each with the whole sequences that the pool holds on average at a random moment. */
  readonly allocators: readonly (HeldMemory & { readonly numSequences: number })[];
}

/**
 * Requests drawn from each distribution. Another seed moves the shares by at most 0.3 percentage
 * points, and by 1.1 in blocks that are longer than most requests.
 */
const NUM_SAMPLES = 20_000;
const SEED = 1;

/** Settings of a comparison of allocators. */
export interface TrafficOptions extends KvFormat {
  /** Bytes of the KV pool, all layers together. */
  readonly memoryBytes: number;
  /** Compared besides {@link COMPARED_BLOCK_SIZES}. */
  readonly blockSize: number;
  /** Longest prompt and output together. */
  readonly maxModelLen: number;
}

/** Compares allocators on `traffic`, for the layers of a model. */
export function planTraffic(
  shape: ModelShape,
  { name, requests }: Traffic,
  { memoryBytes, blockSize, maxModelLen, ...format }: TrafficOptions,
): TrafficPlan {
  const fitting = requests.filter((r) => r.promptLen + r.outputLen <= maxModelLen);
  const perToken = bytesPerToken(shape, format);
  const byGroup = bytesPerTokenByGroup(shape, format);
  const windows = groupsOf(shape).map((group, index): WindowShare => {
    const window = windowOf(group);
    const share = byGroup[index]! / perToken;
    return window === undefined ? { share } : { share, window };
  });
  const blockSizes = [...new Set([...COMPARED_BLOCK_SIZES, blockSize])].sort((a, b) => a - b);
  return {
    name,
    numRequests: fitting.length,
    numTooLong: requests.length - fitting.length,
    meanPromptLen: mean(fitting.map(({ promptLen }) => promptLen)),
    meanOutputLen: mean(fitting.map(({ outputLen }) => outputLen)),
    allocators: heldMemory(fitting, { maxModelLen, blockSizes, windows }).map((held) => ({
      ...held,
      numSequences: Math.floor(memoryBytes / (held.meanHeldLen * perToken)),
    })),
  };
}

/** Traffic like two well-known data sets; the same requests each time. */
export function typicalTraffic(): Traffic[] {
  return LENGTH_DISTRIBUTIONS.map((distribution) => ({
    name: distribution.name,
    requests: sampleLengths(distribution, { numRequests: NUM_SAMPLES, seed: SEED }),
  }));
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

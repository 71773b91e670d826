import type { CacheSpec } from "../../src/core/cache_group.ts";

const HEADS = { numKvHeads: 1, headDim: 1 };

/** Groups as models have them, with sizes that do not matter here. */
export const FULL: CacheSpec = { kind: "full", ...HEADS };
export const STATE: CacheSpec = { kind: "state", stateBytes: 4 };

/** A sliding window, perhaps with sinks. */
export function windowOf(window: number, numSinkTokens?: number): CacheSpec {
  const sinks = numSinkTokens === undefined ? {} : { numSinkTokens };
  return { kind: "sliding_window", window, ...sinks, ...HEADS };
}

/** The outputs of an encoder: embeddings until placeholders are computed, or keys and values. */
export function encoderOf(lifetime: "placeholders" | "sequence"): CacheSpec {
  return { kind: "encoder", lifetime, ...HEADS };
}

/** Attention within chunks. */
export function chunksOf(window: number): CacheSpec {
  return { kind: "chunked_local", window, ...HEADS };
}

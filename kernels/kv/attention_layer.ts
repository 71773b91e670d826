import type { KvShape } from "./kv_cache.ts";

/**
 * All that one layer's attention is: H query heads over the G KV heads of its KV, and the options
 * of `ropeStoreKvCall` and `pagedAttentionCalls`, which both take this. What is absent is off.
 */
export type AttentionLayer =
  & KvShape
  & Readonly<{
    H: number;
    /**
     * Whether `qkv` has rows of queries alone, [T, H, D] in place of [T, H + 2G, D]: a layer that
     * reads the KV of an earlier one, and stores none.
     */
    QUERIES_ONLY?: boolean;
    /**
     * Elements of a head that are rotated, the first ones, in pairs `(i, i + ROTARY_DIM / 2)`: a
     * multiple of what heads are a multiple of in KV_DTYPE. Default D; 0 for a layer without
     * positions.
     */
    ROTARY_DIM?: number;
    /** With it queries and keys are RMS-normalized over D before they are rotated. */
    NORM_EPS?: number;
    /**
     * With both, positive, a query at position p is multiplied by `1 + QUERY_RATE ln(1 + floor(p /
     * QUERY_SPAN))` (Llama 4's temperature of long contexts).
     */
    QUERY_RATE?: number;
    QUERY_SPAN?: number;
    /** Factor of scores; default `1 / sqrt(D)`. */
    SCALE?: number;
    /** With it a score `s` becomes `SOFT_CAP * tanh(s / SOFT_CAP)`; positive. */
    SOFT_CAP?: number;
  }>;

/** Heads of a row of `qkv`. */
export function qkvHeads({ H, G, QUERIES_ONLY = false }: AttentionLayer): number {
  return QUERIES_ONLY ? H : H + 2 * G;
}

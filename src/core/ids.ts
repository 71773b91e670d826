/** Index into the vocabulary. */
export type TokenId = number;

/**
 * Index of a physical KV block: among all of the pool, or, in plans and on the device, among those
 * of its cache group. The two are the same where slabs are not cut into several blocks.
 */
export type BlockId = number;

/** One HTTP call as the engine knows it; unique for the life of the process. */
export type RequestId = string;

/** One growing list of token ids, unique for the life of the engine isolate. */
export type SequenceId = number;

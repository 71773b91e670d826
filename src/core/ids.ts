/** Index into the vocabulary. */
export type TokenId = number;

/** Index of a physical KV block in the pool; the same place in every layer's buffer. */
export type BlockId = number;

/** One HTTP call as the engine knows it; unique for the life of the process. */
export type RequestId = string;

/** One growing list of token ids, unique for the life of the engine isolate. */
export type SequenceId = number;

import type { KvDecision } from "../../core/kv_decision.ts";
import type { BlockKey } from "./block_key.ts";

/** A block that has become findable. */
export interface StoredBlock {
  readonly key: BlockKey;
  /** Key of the block before it, or of the root of its scope. */
  readonly parentKey: BlockKey;
  /** The tokens of this block alone; none of the output of an encoder, which is one entry. */
  readonly tokens: Uint32Array;
  /** The scope it can be found in; empty is the open one. */
  readonly scope: string;
  /** Index of the cache group: 0 is full attention, where the model has it. */
  readonly group: number;
}

/** Blocks that can no longer be found, in the order in which they went. */
export interface RemovedBlocks {
  readonly keys: readonly BlockKey[];
  readonly group: number;
}

/**
 * Is told what the prefix cache holds, as it changes: folding all calls in order gives exactly the
 * set of cached keys. A block is removed before its room is used again.
 */
export interface CacheListener {
  stored(block: StoredBlock): void;
  removed(blocks: RemovedBlocks): void;
  /** A prompt has found the block of this key and all before it. */
  used(key: BlockKey): void;
  /** Everything is gone. */
  cleared(): void;
}

/** Is told every decision as it is made. */
export type DecisionListener = (decision: KvDecision) => void;

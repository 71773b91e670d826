import type { BlockId, RequestId, SequenceId } from "../core/ids.ts";
import type { BlockKey } from "./block_key.ts";

/** A block that has become findable. */
export interface StoredBlock {
  readonly key: BlockKey;
  /** Key of the block before it, or of the root of its scope. */
  readonly parentKey: BlockKey;
  /** The tokens of this block alone. */
  readonly tokens: Uint32Array;
  /** Cache group; 0 is full attention. */
  readonly group: 0;
}

/** A block that can no longer be found. */
export interface RemovedBlock {
  readonly key: BlockKey;
  readonly group: 0;
}

/**
 * Is told what the prefix cache holds, as it changes: folding all calls in order gives exactly the
 * set of cached keys. A block is removed before its room is used again.
 */
export interface CacheListener {
  stored(block: StoredBlock): void;
  removed(block: RemovedBlock): void;
  /** Everything is gone. */
  cleared(): void;
}

/** Why a sequence is not admitted in this step. */
export type WaitReason =
  /** Its blocks do not fit; nobody behind it is admitted either. */
  | "blocks"
  /** A running sequence computes a prefix that it can share as soon as that is done. */
  | "shared_prefix"
  /** A sequence of the same request and prompt computes that prompt for both. */
  | "sibling_prompt";

/** One decision about KV memory, with the numbers it was made on. Counts are blocks. */
export type KvDecision =
  | {
    readonly type: "queue";
    readonly requestId: RequestId;
    readonly sequenceId: SequenceId;
    readonly index: number;
    readonly numTokens: number;
  }
  | {
    readonly type: "wait";
    readonly sequenceId: SequenceId;
    readonly reason: WaitReason;
    readonly numNeeded: number;
    readonly numFree: number;
    readonly numEvictable: number;
  }
  | {
    readonly type: "admit";
    readonly sequenceId: SequenceId;
    readonly numTokens: number;
    readonly numCachedTokens: number;
  }
  | { readonly type: "hit"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "allocate"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "evict"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | {
    readonly type: "copy";
    readonly sequenceId: SequenceId;
    readonly from: BlockId;
    readonly to: BlockId;
    readonly numTokens: number;
  }
  | { readonly type: "preempt"; readonly sequenceId: SequenceId; readonly numBlocks: number }
  | { readonly type: "free"; readonly sequenceId: SequenceId; readonly numBlocks: number };

/** Is told every decision as it is made. */
export type DecisionListener = (decision: KvDecision) => void;

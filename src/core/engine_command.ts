import type { EngineView } from "./engine_view.ts";
import type { RequestId } from "./ids.ts";

/** What an operator may ask of the running engine; carried out between two steps. */
export type EngineCommand =
  /**
   * Forget the KV of all earlier prompts; refused (409) while sequences run, unless they may be
   * preempted.
   */
  | { readonly type: "reset_prefix_cache"; readonly preempt: boolean }
  /**
   * Keep what is cached of these tokens from eviction, under a name; refused (400) beyond the cap.
   */
  | {
    readonly type: "pin_prefix";
    readonly name: string;
    readonly tokens: Uint32Array;
    /** The cache scope to look in, as in a request. */
    readonly cacheScope?: string;
  }
  /** Allow the prefix of that name to be evicted again. */
  | { readonly type: "unpin_prefix"; readonly name: string }
  /**
   * Give the KV pool another size; refused where what is in use would not fit (409), one sequence
   * of the greatest length would not (400), or the device has no memory (409).
   */
  | { readonly type: "resize_kv"; readonly numBlocks: number }
  /**
   * Estimate the hit rate of the prefix cache with less or more memory, from the prompts so far.
   */
  | { readonly type: "hit_rate_curve" }
  /**
   * Audit queues, block tables, pool and cache; the engine ends with an error if they are damaged.
   */
  | { readonly type: "check_integrity" }
  /**
   * Show the inside of the engine. For some seconds after it each step is noted, for the next view.
   */
  | {
    readonly type: "view";
    /** Runs of the radix tree; 0 for none of it, which is cheaper. */
    readonly maxNumRuns: number;
    readonly maxNumSequences: number;
  }
  /** Tell the tokens along a path of the radix tree, which a view has named. */
  | {
    readonly type: "read_path";
    readonly node: number;
    readonly hash: number;
    /** The cache scope that the path must be of. */
    readonly cacheScope?: string;
  }
  /** End a request; its client gets what there is, with the reason "abort". */
  | { readonly type: "abort_request"; readonly requestId: RequestId };

/** An estimate at one size of KV memory. */
export interface CurvePoint {
  /** Capacity as a multiple of the pool; `Infinity` for a cache that forgets nothing. */
  readonly multiple: number;
  /** Share of looked-up blocks that a cache of this capacity would have had, 0 to 1. */
  readonly hitRate: number;
}

/** What a resize of the KV pool has done, in blocks. */
export interface PoolResized {
  readonly numBefore: number;
  readonly numAfter: number;
  /** Cached blocks that were evicted to make it fit. */
  readonly numEvicted: number;
  /** Blocks that were moved to another id. */
  readonly numMoved: number;
}

/** The reply to each command, by its type. */
export interface CommandReplies {
  readonly reset_prefix_cache: { readonly numPreempted: number };
  readonly pin_prefix: {
    /** Blocks of this prefix that are pinned, and the tokens they hold. */
    readonly numBlocks: number;
    readonly numTokens: number;
    /** Blocks held by all pins, and the most that they may hold. */
    readonly numPinned: number;
    readonly maxNumPinned: number;
  };
  /** Whether a pin of that name existed. */
  readonly unpin_prefix: { readonly wasPinned: boolean };
  readonly resize_kv: PoolResized;
  readonly hit_rate_curve: readonly CurvePoint[];
  readonly check_integrity: {
    readonly numBlocks: number;
    readonly numFreeBlocks: number;
    readonly numCachedBlocks: number;
  };
  readonly view: EngineView;
  /** Undefined where that scope has no such path, or no longer. */
  readonly read_path: { readonly tokens: Uint32Array | undefined };
  /** Sequences that were ended; 0 where there was no such request. */
  readonly abort_request: { readonly numSequences: number };
}

/** The reply to one command. */
export type ReplyOf<C extends EngineCommand> = CommandReplies[C["type"]];

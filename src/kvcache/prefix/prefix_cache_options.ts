import type { EvictionPolicyName } from "../../core/engine_config.ts";
import type { KeySpace } from "./block_key.ts";
import type { CacheListener } from "./cache_listener.ts";

/** What a prefix cache is made with. */
export interface PrefixCacheOptions {
  /** What keys are made of; never written anywhere. */
  readonly keySpace: KeySpace;
  /** Default: `lru`. */
  readonly policy?: EvictionPolicyName;
  /**
   * Tokens of a tail as the policy `tail-lru` means it, which alone uses it: the end of a path,
   * which delays no first token much where it is computed again. Default: 512.
   */
  readonly numTailTokens?: number;
  /** Never finds anything, and stores all the same: for tests and benchmarks. Default: false. */
  readonly forceMiss?: boolean;
  /** Share of the pool that may be pinned, from 0 to 1. Default: one half. */
  readonly maxPinnedShare?: number;
  /** Milliseconds, for priorities that hold for a while. Default: the time since start. */
  readonly now?: () => number;
  readonly listener?: CacheListener;
}

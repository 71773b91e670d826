import type { EvictionPolicyName } from "../../core/engine_config.ts";
import type { EvictionPolicy, ParentOf } from "./eviction_policy.ts";
import { HitsPerTokenPolicy } from "./hits_per_token_policy.ts";
import { LruPolicy } from "./lru_policy.ts";
import { RetentionPolicy } from "./retention_policy.ts";
import { ReusePolicy } from "./reuse_policy.ts";
import { SlruPolicy } from "./slru_policy.ts";
import { TailLruPolicy } from "./tail_lru_policy.ts";

/** What policies ask of the cache. */
export interface EvictionParts {
  /** Milliseconds. */
  readonly now: () => number;
  readonly parentOf: ParentOf;
  /** Blocks at the end of a path that are computed again in one step. */
  readonly numTailBlocks: number;
}

/** Makes the policy of that name. */
export function createEvictionPolicy(
  name: EvictionPolicyName,
  numBlocks: number,
  parts: EvictionParts,
): EvictionPolicy {
  switch (name) {
    case "lru":
      return new LruPolicy(numBlocks);
    case "slru":
      return new SlruPolicy(numBlocks);
    case "priority":
      return new RetentionPolicy(numBlocks, parts.now);
    case "hits-per-token":
      return new HitsPerTokenPolicy(numBlocks, parts.parentOf);
    case "tail-lru":
      return new TailLruPolicy(numBlocks, parts);
    case "reuse":
      return new ReusePolicy(numBlocks, parts.now);
  }
}

import type { EvictionPolicyName } from "../../core/engine_config.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";
import { LruPolicy } from "./lru_policy.ts";
import { PriorityPolicy } from "./priority_policy.ts";
import { SlruPolicy } from "./slru_policy.ts";

/** Makes the policy of that name; `now` tells milliseconds, for what is kept for a while. */
export function createEvictionPolicy(
  name: EvictionPolicyName,
  numBlocks: number,
  now: () => number,
): EvictionPolicy {
  switch (name) {
    case "lru":
      return new LruPolicy(numBlocks);
    case "slru":
      return new SlruPolicy(numBlocks);
    case "priority":
      return new PriorityPolicy(numBlocks, now);
  }
}

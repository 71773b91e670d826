import type { SchedulingPolicyName } from "../../core/engine_config.ts";
import { type ExpectedTokens, FairPolicy } from "./fair_policy.ts";
import { FcfsPolicy } from "./fcfs_policy.ts";
import { LongestPrefixPolicy, type WatchCached } from "./longest_prefix_policy.ts";
import { PriorityPolicy } from "./priority_policy.ts";
import type { SchedulingPolicy } from "./scheduling_policy.ts";

/** What policies ask of the scheduler. */
export interface PolicyParts {
  readonly watchCached: WatchCached;
  readonly expectedTokens: ExpectedTokens;
}

/** The policy of that name. */
export function createPolicy(name: SchedulingPolicyName, parts: PolicyParts): SchedulingPolicy {
  switch (name) {
    case "fcfs":
      return new FcfsPolicy();
    case "priority":
      return new PriorityPolicy();
    case "lpm":
      return new LongestPrefixPolicy(parts.watchCached);
    case "fair":
      return new FairPolicy(parts.expectedTokens);
  }
}

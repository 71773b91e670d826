import { assert } from "@std/assert";
import { engine } from "../../../bench/sim/allocators.ts";
import { KNOWN_COSTS } from "../../../bench/sim/costs.ts";
import { simulate } from "../../../bench/sim/simulate.ts";
import { grouped, type GroupedPrompts } from "../../../bench/sim/synthetic_loads.ts";
import type { SchedulingPolicyName } from "../../../src/core/engine_config.ts";

const BLOCK = 16;
/** R3: 24 groups of twenty prompts, 64 blocks that a group shares and 8 of each one's own. */
const R3 = { numGroups: 24, perGroup: 20, sharedLen: 64 * BLOCK, ownLen: 8 * BLOCK };
/** What is found where each group's shared blocks are computed once. */
const IDEAL = 64 * 19 / (72 * 20);

function hitRate(
  numBlocks: number,
  schedulingPolicy: SchedulingPolicyName,
  order: GroupedPrompts["order"],
): number {
  const sizes = {
    poolTokens: numBlocks * BLOCK,
    maxModelLen: 80 * BLOCK,
    maxNumSeqs: 16,
    maxNumBatchedTokens: 2048,
  };
  const load = grouped({ ...R3, order });
  const server = engine(sizes, { schedulingPolicy, evictionPolicy: "lru" });
  const { requests, totals } = simulate(load, server, KNOWN_COSTS["8b-gpu"]);
  assert(requests.every(({ outcome }) => outcome === "finished"));
  return totals.numHit / totals.numQueried;
}

for (const numBlocks of [256, 512, 1024, 2048]) {
  Deno.test(`R3 with ${numBlocks} blocks: lpm finds 95 % of what depth-first order finds, and fcfs little below the working set`, () => {
    const fcfs = hitRate(numBlocks, "fcfs", "interleaved");
    const lpm = hitRate(numBlocks, "lpm", "interleaved");
    const depthFirst = hitRate(numBlocks, "fcfs", "depth-first");
    const found = `fcfs ${fcfs}, lpm ${lpm}, depth first ${depthFirst}, ideal ${IDEAL}`;
    assert(lpm >= 0.95 * depthFirst && depthFirst <= IDEAL + 1e-9, found);
    // The groups' shared blocks fill 1,536.
    if (numBlocks < 1536) assert(fcfs < 0.1, found);
    else assert([fcfs, lpm, depthFirst].every((rate) => Math.abs(rate - IDEAL) < 1e-9), found);
  });
}

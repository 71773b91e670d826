import { assert, assertEquals } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import { FULL, STATE, windowOf } from "../support/kv_groups.ts";
import { samplingParams } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

const NUM_PROMPTS = 64;

/** A prompt of `numShared` tokens that all have, and `numOwn` that only it has. */
function promptOf(index: number, numShared: number, numOwn: number): Uint32Array {
  return Uint32Array.from(
    { length: numShared + numOwn },
    (_, i) => i < numShared ? i % 13 : 100 + index * 10_000 + i,
  );
}

function rigOf(groups: readonly CacheSpec[]): SchedulerRig {
  return new SchedulerRig({
    groups,
    blocksPerSlab: groups.map(() => 1),
    numBlocks: 4000,
    blockSize: 16,
    maxModelLen: 4096,
    maxNumBatchedTokens: 512,
    prefixCache: {},
  });
}

/** How much of each prompt was found, served one after the other or sent all at once. */
function serve(rig: SchedulerRig, numShared: number, numOwn: number, isAtOnce: boolean): number[] {
  for (let i = 0; i < NUM_PROMPTS; i++) {
    const prompt = promptOf(i, numShared, numOwn);
    const params = samplingParams({ maxTokens: 2, seed: i });
    rig.add({ id: `r${i}`, sequences: [{ prompt, params }] });
    if (!isAtOnce) rig.finish();
  }
  rig.finish(5000);
  return Array.from({ length: NUM_PROMPTS }, (_, i) => {
    const first = rig.events.find(({ requestId }) => requestId === `r${i}`);
    return first?.numCachedTokens ?? -1;
  });
}

for (
  const [name, groups] of [["window", [FULL, windowOf(512)]], ["state", [FULL, STATE]]] as const
) {
  for (const [numShared, numOwn] of [[1600, 600], [1500, 700]] as const) {
    for (const isAtOnce of [false, true]) {
      const how = isAtOnce ? "sent at once" : "one after the other";
      Deno.test(`Scheduler with full attention and a ${name}: ${NUM_PROMPTS} prompts that share ${numShared} tokens and differ in ${numOwn}, ${how}, find them from the second sighting of the junction on`, () => {
        const found = serve(rigOf(groups), numShared, numOwn, isAtOnce);
        const whole = numShared - numShared % 16;
        const numHits = found.filter((count) => count === whole).length;
        // The first knows of no other; the second shows where they part, and keeps what is there.
        assert(numHits >= NUM_PROMPTS - 2, `${numHits} of ${NUM_PROMPTS}: ${found}`);
        assertEquals(found.slice(2), new Array(NUM_PROMPTS - 2).fill(whole));
      });
    }
  }
}

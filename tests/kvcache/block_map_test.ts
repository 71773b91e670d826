import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { NO_BLOCK } from "../../src/core/cache_group.ts";
import {
  BLOCK_CACHED,
  BLOCK_GROUP_SHIFT,
  BLOCK_PINNED,
  NO_SEQUENCE,
} from "../../src/core/engine_view.ts";
import type { SequenceId } from "../../src/core/ids.ts";
import { KvGroupRig } from "../support/kv_group_rig.ts";
import { FULL, windowOf } from "../support/kv_groups.ts";
import { runs, times } from "../support/runs.ts";

const LAYOUTS = [
  { groups: [FULL], blocksPerSlab: [1] },
  { groups: [FULL, windowOf(5)], blocksPerSlab: [1, 1] },
  { groups: [FULL, windowOf(4)], blocksPerSlab: [2, 3] },
];

interface Step {
  readonly verb: string;
  readonly pick: number;
  readonly tokens: readonly number[];
  readonly count: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom("admit", "admit", "compute", "compute", "compute", "fork", "free", "pin"),
  pick: fc.nat(5),
  tokens: fc.array(fc.nat(1), { minLength: 1, maxLength: 20 }),
  count: fc.integer({ min: 1, max: 8 }),
});

function apply(rig: KvGroupRig, { verb, pick, tokens, count }: Step): void {
  const sequence = rig.sequences[pick % Math.max(1, rig.sequences.length)];
  if (verb === "pin") rig.pin("", tokens);
  else if (verb === "admit" || sequence === undefined) rig.admit(tokens, "");
  else if (verb === "fork") rig.fork(sequence, sequence.numComputed - count + 1, count % 2);
  else if (verb === "free") rig.free(sequence, "free");
  else rig.compute(sequence, count, count % 2);
}

/** Who holds each block of each group by the block tables, the first admitted first. */
function holdersByTables(rig: KvGroupRig): Map<string, SequenceId[]> {
  const holders = new Map<string, SequenceId[]>();
  for (const { id } of rig.sequences) {
    rig.manager.blockTables(id).forEach((table, group) => {
      for (const block of table) {
        if (block === NO_BLOCK) continue;
        const key = `${group}/${block}`;
        holders.set(key, [...holders.get(key) ?? [], id]);
      }
    });
  }
  return holders;
}

Deno.test("BlockManager.mapBlocks() says of every block what tables, pins and cache say", () => {
  let numShared = 0;
  let numPinned = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...LAYOUTS),
      fc.array(step, { minLength: 20, maxLength: 40 }),
      (layout, history) => {
        const isCut = layout.blocksPerSlab.some((count) => count > 1);
        const rig = new KvGroupRig({
          ...{ ...layout, numBlocks: 24, blockSize: 2, maxInFlightTokens: 6, policy: "lru" },
        });
        for (const each of history) apply(rig, each);
        const { states, holders, firstHolders } = rig.manager.mapBlocks();
        const byTables = holdersByTables(rig);
        const counts = { free: 0, cached: 0, used: 0 };
        const owned = layout.groups.map(() => 0);
        states.forEach((state, block) => {
          const isCached = (state & BLOCK_CACHED) !== 0;
          const kind = holders[block]! > 0 ? "used" : isCached ? "cached" : "free";
          counts[kind]++;
          if (kind === "free") assertEquals([state, firstHolders[block]], [0, NO_SEQUENCE]);
          if ((state & BLOCK_PINNED) !== 0) {
            numPinned++;
            assert(isCached && kind === "used", `pinned block ${block} is ${kind}`);
          }
          if (firstHolders[block] !== NO_SEQUENCE) owned[state >> BLOCK_GROUP_SHIFT]!++;
          if (isCut) return;
          const own = byTables.get(`${state >> BLOCK_GROUP_SHIFT}/${block}`) ?? [];
          assertEquals(
            firstHolders[block],
            own[0] ?? NO_SEQUENCE,
            `first holder of block ${block}`,
          );
          assert(holders[block]! >= own.length, `holders of block ${block}`);
          if (own.length > 1) numShared++;
        });
        const inTables = layout.groups.map((_, group) =>
          [...byTables.keys()].filter((key) => key.startsWith(`${group}/`)).length
        );
        assertEquals(owned, inTables, "blocks in tables by group");
        if (isCut) return;
        const { numFree, numIdle, numInUse } = rig.manager;
        assertEquals(counts, { free: numFree, cached: numIdle, used: numInUse });
      },
    ),
    { seed: 71, numRuns: runs(300) },
  );
  assert(numShared > times(200) && numPinned > times(100), `${numShared}, ${numPinned}`);
});

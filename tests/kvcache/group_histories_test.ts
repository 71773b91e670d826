import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { LayerCache } from "../../src/core/cache_group.ts";
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import { type GroupRigOptions, KvGroupRig } from "../support/kv_group_rig.ts";
import { chunksOf, FULL, STATE, windowOf } from "../support/kv_groups.ts";
import { runs, times } from "../support/runs.ts";

interface Step {
  readonly verb: "admit" | "fork" | "compute" | "free" | "preempt" | "discard" | "pin" | "resize";
  readonly pick: number;
  readonly tokens: readonly number[];
  readonly scope: string;
  readonly count: number;
  readonly numBlocks: number;
}

const steps: fc.Arbitrary<Step> = fc.record({
  verb: fc.oneof(
    { weight: 5, arbitrary: fc.constant("admit" as const) },
    { weight: 2, arbitrary: fc.constant("fork" as const) },
    { weight: 12, arbitrary: fc.constant("compute" as const) },
    { weight: 3, arbitrary: fc.constant("free" as const) },
    { weight: 1, arbitrary: fc.constantFrom("preempt" as const, "discard" as const) },
    { weight: 1, arbitrary: fc.constantFrom("pin" as const, "resize" as const) },
  ),
  pick: fc.nat(5),
  tokens: fc.array(fc.nat(1), { minLength: 1, maxLength: 24 }),
  scope: fc.constantFrom("", "", "salt"),
  count: fc.integer({ min: 1, max: 8 }),
  numBlocks: fc.integer({ min: 4, max: 40 }),
});

const histories = fc.noBias(fc.array(steps, { minLength: 50, maxLength: 50 }));

function apply(rig: KvGroupRig, step: Step): void {
  const { verb, pick, tokens, scope, count } = step;
  const sequence = rig.sequences[pick % Math.max(1, rig.sequences.length)];
  if (verb === "pin") rig.pin(scope, tokens);
  else if (verb === "resize") rig.resize(step.numBlocks);
  else if (verb === "admit" || sequence === undefined) rig.admit(tokens, scope);
  else if (verb === "fork") rig.fork(sequence, sequence.numComputed - count + 1, count % 2);
  else if (verb === "compute") rig.compute(sequence, count, count % 2);
  else if (verb === "discard") rig.discard(sequence, count);
  else rig.free(sequence, verb);
  rig.check();
}

/** Sets of groups, each with how its slabs are cut. */
const MODELS: readonly {
  readonly name: string;
  readonly groups: readonly LayerCache[];
  readonly blocksPerSlab: readonly number[];
}[] = [
  { name: "full attention", groups: [FULL], blocksPerSlab: [1] },
  { name: "full + window", groups: [FULL, windowOf(5)], blocksPerSlab: [1, 1] },
  { name: "full + window in cut slabs", groups: [FULL, windowOf(6)], blocksPerSlab: [3, 2] },
  {
    name: "full + window + chunks in cut slabs",
    groups: [FULL, windowOf(3), chunksOf(6)],
    blocksPerSlab: [4, 1, 2],
  },
  {
    name: "two sizes of full + window with sinks",
    groups: [FULL, FULL, windowOf(4, 3)],
    blocksPerSlab: [2, 1, 3],
  },
  { name: "a window alone", groups: [windowOf(7)], blocksPerSlab: [1] },
  { name: "full + state", groups: [FULL, STATE], blocksPerSlab: [1, 1] },
  { name: "full + state in cut slabs", groups: [FULL, STATE], blocksPerSlab: [3, 1] },
  {
    name: "full + window + two states",
    groups: [FULL, windowOf(5), STATE, STATE],
    blocksPerSlab: [1, 1, 1, 1],
  },
  { name: "a state alone", groups: [STATE], blocksPerSlab: [1] },
];

for (const [i, { name, groups, blocksPerSlab }] of MODELS.entries()) {
  Deno.test(`BlockManager of ${name} finds only what is whole, frees what is dead and loses nothing, over 200,000 steps`, () => {
    const totals = {
      numSteps: 0,
      numHits: 0,
      numFailures: 0,
      numMoves: 0,
      numForks: 0,
      numEvicted: 0,
      numSnapshots: 0,
    };
    const options: fc.Arbitrary<GroupRigOptions> = fc.record({
      groups: fc.constant(groups),
      blocksPerSlab: fc.constant(blocksPerSlab),
      numBlocks: fc.integer({ min: 4, max: 36 }),
      blockSize: fc.integer({ min: 1, max: 3 }),
      maxInFlightTokens: fc.integer({ min: 1, max: 8 }),
      policy: fc.constantFrom<EvictionPolicyName>("lru", "slru", "priority"),
    });
    fc.assert(
      fc.property(fc.noBias(options), histories, (sizes, history) => {
        const rig = new KvGroupRig(sizes);
        for (const step of history) apply(rig, step);
        rig.drain();
        totals.numSteps += history.length;
        totals.numHits += rig.numHits;
        totals.numFailures += rig.numFailures;
        totals.numMoves += rig.numMoves;
        totals.numForks += rig.numForks;
        totals.numSnapshots += rig.numSnapshots;
        totals.numEvicted += rig.manager.numEvicted;
      }),
      { seed: 60 + i, numRuns: runs(4000) },
    );
    assert(totals.numSteps >= times(200_000), `only ${totals.numSteps} steps`);
    const { numHits, numFailures, numMoves, numForks, numEvicted, numSnapshots } = totals;
    const hasStates = groups.includes(STATE);
    assert(
      numHits > times(3000) && numFailures > times(3000) && numMoves > times(500) &&
        numForks > times(hasStates ? 300 : 1000) && numEvicted > times(5000) &&
        numSnapshots >= times(hasStates ? 3000 : 0),
      JSON.stringify(totals),
    );
  });
}

Deno.test("BlockManager with groups makes the same decisions and tables from the same history", () => {
  const options: fc.Arbitrary<GroupRigOptions> = fc.constantFrom(...MODELS).chain((model) =>
    fc.record({
      groups: fc.constant(model.groups),
      blocksPerSlab: fc.constant(model.blocksPerSlab),
      numBlocks: fc.integer({ min: 4, max: 36 }),
      blockSize: fc.integer({ min: 1, max: 3 }),
      maxInFlightTokens: fc.constant(8),
      policy: fc.constantFrom<EvictionPolicyName>("lru", "slru", "priority"),
    })
  );
  fc.assert(
    fc.property(options, histories, (sizes, history) => {
      const [first, second] = [new KvGroupRig(sizes), new KvGroupRig(sizes)];
      for (const step of history) for (const rig of [first, second]) apply(rig, step);
      assertEquals(second.history, first.history);
    }),
    { seed: 70, numRuns: runs(200) },
  );
});

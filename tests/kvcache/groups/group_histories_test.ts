import { assert } from "@std/assert";
import fc from "fast-check";
import type { GroupSpec } from "../../../src/kvcache/groups/group_spec.ts";
import { planSlabs } from "../../../src/core/slab_layout.ts";
import { GroupRig } from "../../support/group_rig.ts";
import {
  chunkGroup,
  encoderGroup,
  fullGroup,
  stateGroup,
  windowGroup,
} from "../../support/group_specs.ts";
import { runs, times } from "../../support/runs.ts";

const NUM_OPERATIONS = 200_000;
const HISTORY_LENGTH = 100;

const MODELS: readonly (readonly GroupSpec[])[] = [
  [fullGroup(2)],
  [fullGroup(2), windowGroup(2, 4)],
  [fullGroup(2, 8), windowGroup(2, 4)],
  [fullGroup(4, 12), windowGroup(2, 3, { blockBytes: 8, numSinkTokens: 2 })],
  [fullGroup(2, 8), chunkGroup(2, 4), stateGroup(4, 12)],
  [fullGroup(2), stateGroup(2, 8), encoderGroup(2, "sequence", 4)],
  [windowGroup(2, 3, { blockBytes: 8 }), encoderGroup(1, "placeholders", 4)],
];

const OPERATION = fc.record({
  verb: fc.constantFrom(
    "admit",
    "admit",
    "dispatch",
    "dispatch",
    "dispatch",
    "dispatch",
    "settle",
    "settle",
    "snapshot",
    "free",
    "free",
    "copy",
    "finish",
  ),
  pick: fc.nat(99),
  count: fc.integer({ min: 2, max: 6 }),
  tokens: fc.string({ unit: fc.constantFrom(..."xxxxxxxy"), minLength: 1, maxLength: 12 }),
  input: fc.constantFrom("", "a", "b", "ab"),
});

function run(rig: GroupRig, operation: typeof OPERATION extends fc.Arbitrary<infer T> ? T : never) {
  const { verb, pick, count, tokens, input } = operation;
  // More of them would only hold the pool between them and get nowhere.
  if (verb === "admit" && rig.sequences.length < 4) rig.admit(tokens, input);
  if (verb === "copy") rig.copy();
  if (verb === "finish") rig.finish();
  const sequence = rig.sequences[pick % rig.sequences.length];
  if (sequence === undefined) return;
  if (verb === "dispatch") rig.dispatch(sequence, count, pick % 2 === 0 ? "x" : "y");
  if (verb === "settle") rig.settle(sequence);
  if (verb === "snapshot") rig.snapshot(sequence);
  if (verb === "free") rig.free(sequence);
}

Deno.test("GroupManager never lets a step read wrong contents, whatever is shared, freed and evicted (I1-I7, I9-I13, I16)", () => {
  let [numOperations, numHits, numFailures] = [0, 0, 0];
  const history = fc.array(OPERATION, { minLength: HISTORY_LENGTH, maxLength: HISTORY_LENGTH });
  fc.assert(
    fc.property(
      fc.constantFrom(...MODELS),
      fc.integer({ min: 3, max: 20 }),
      history,
      (groups, numSlabs, history) => {
        const { slabBytes } = planSlabs(groups.map((spec) => spec.blockBytes));
        const rig = new GroupRig(groups, numSlabs * slabBytes);
        for (const operation of history) {
          run(rig, operation);
          rig.manager.checkIntegrity();
          numOperations++;
        }
        rig.drain(numSlabs);
        numHits += rig.numHits;
        numFailures += rig.numFailures;
      },
    ),
    { seed: 47, numRuns: runs(NUM_OPERATIONS / HISTORY_LENGTH) },
  );
  assert(numOperations >= times(NUM_OPERATIONS));
  assert(
    numHits > times(4000) && numFailures > times(10_000),
    `${numHits} hits, ${numFailures} failures`,
  );
});

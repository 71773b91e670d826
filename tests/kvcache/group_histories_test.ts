import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { EVICTION_POLICIES } from "../../src/core/engine_config.ts";
import type { EncoderInput } from "../../src/kvcache/tables/encoder_inputs.ts";
import { bitLists } from "../support/bit_lists.ts";
import { type GroupRigOptions, KvGroupRig } from "../support/kv_group_rig.ts";
import { chunksOf, encoderOf, FULL, STATE, windowOf } from "../support/kv_groups.ts";
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
  tokens: bitLists(12),
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
  else if (verb === "admit" || sequence === undefined) {
    rig.admit(tokens, scope, rig.hasEncoder ? inputsOf(step) : []);
  } else if (verb === "fork") rig.fork(sequence, sequence.numComputed - count + 1, count % 2);
  else if (verb === "compute") rig.compute(sequence, count, count % 2);
  else if (verb === "discard") rig.discard(sequence, count);
  else rig.free(sequence, verb);
  rig.check();
}

/** Lists of inputs: one given twice, an empty one, and ones that others have too. */
const INPUTS: readonly (readonly EncoderInput[])[] = [
  [],
  [{ key: "photo", numTokens: 7, placeholderEnd: 3 }],
  [
    { key: "sound", numTokens: 4, placeholderEnd: 2 },
    { key: "icon", numTokens: 1, placeholderEnd: 9 },
  ],
  [
    { key: "sound", numTokens: 4, placeholderEnd: 2 },
    { key: "empty", numTokens: 0, placeholderEnd: 4 },
    { key: "sound", numTokens: 4, placeholderEnd: 6 },
  ],
];

/** What the tokens of a step are given with; no placeholder lies behind them. */
function inputsOf({ numBlocks, tokens }: Step): EncoderInput[] {
  // Half of all have none, and a quarter the first: so that prompts meet again.
  const which = [0, 1, 0, 2, 0, 1, 0, 3][numBlocks % 8]!;
  return INPUTS[which]!.map((input) => ({
    ...input,
    placeholderEnd: Math.min(input.placeholderEnd, tokens.length),
  }));
}

/** Groups, and how slabs are cut for them. */
type Layout = Pick<GroupRigOptions, "groups" | "blocksPerSlab"> & {
  /** Slabs beside those that any layout has, for what encoders make. Default: none. */
  readonly numMore?: number;
};

/** Kinds of models, with the layouts that they may have. */
const MODELS: readonly { readonly name: string; readonly layouts: readonly Layout[] }[] = [
  { name: "full attention", layouts: [{ groups: [FULL], blocksPerSlab: [1] }] },
  {
    name: "full + window",
    layouts: [
      { groups: [FULL, windowOf(5)], blocksPerSlab: [1, 1] },
      { groups: [FULL, windowOf(6)], blocksPerSlab: [3, 2] },
      { groups: [FULL, FULL, windowOf(4, 3)], blocksPerSlab: [2, 1, 3] },
    ],
  },
  {
    name: "full + window + chunks",
    layouts: [
      { groups: [FULL, windowOf(3), chunksOf(6)], blocksPerSlab: [4, 1, 2] },
      { groups: [FULL, windowOf(3), chunksOf(4)], blocksPerSlab: [1, 1, 1] },
    ],
  },
  { name: "a window alone", layouts: [{ groups: [windowOf(7)], blocksPerSlab: [1] }] },
  {
    name: "full + state",
    layouts: [
      { groups: [FULL, STATE], blocksPerSlab: [1, 1] },
      { groups: [FULL, STATE], blocksPerSlab: [3, 1] },
      { groups: [FULL, windowOf(5), STATE, STATE], blocksPerSlab: [1, 1, 1, 1] },
      { groups: [STATE], blocksPerSlab: [1] },
    ],
  },
  {
    name: "full + encoder",
    layouts: [
      { groups: [FULL, encoderOf("sequence")], blocksPerSlab: [1, 1], numMore: 16 },
      { groups: [FULL, encoderOf("placeholders")], blocksPerSlab: [1, 1], numMore: 16 },
      { groups: [FULL, encoderOf("sequence")], blocksPerSlab: [2, 3], numMore: 16 },
      { groups: [FULL, encoderOf("placeholders")], blocksPerSlab: [3, 1], numMore: 16 },
    ],
  },
  {
    name: "full + window + encoder",
    layouts: [
      {
        groups: [FULL, windowOf(5), encoderOf("placeholders")],
        blocksPerSlab: [1, 1, 1],
        numMore: 32,
      },
      { groups: [FULL, windowOf(5), encoderOf("sequence")], blocksPerSlab: [2, 1, 3], numMore: 32 },
      {
        groups: [FULL, windowOf(4, 3), encoderOf("sequence"), encoderOf("placeholders")],
        blocksPerSlab: [1, 1, 1, 1],
        numMore: 48,
      },
    ],
  },
];

/** Rigs of these layouts, small enough that every limit is met often. */
function rigsOf(layouts: readonly Layout[]): fc.Arbitrary<GroupRigOptions> {
  return fc.record({
    layout: fc.constantFrom(...layouts),
    numBlocks: fc.integer({ min: 4, max: 36 }),
    blockSize: fc.integer({ min: 1, max: 3 }),
    maxInFlightTokens: fc.integer({ min: 1, max: 8 }),
    policy: fc.constantFrom(...EVICTION_POLICIES),
  }).map(({ layout: { numMore = 0, ...layout }, numBlocks, ...sizes }) => ({
    ...layout,
    ...sizes,
    numBlocks: numBlocks + numMore,
  }));
}

for (const [i, { name, layouts }] of MODELS.entries()) {
  Deno.test(`BlockManager of ${name} finds only what is whole, frees what is dead and loses nothing, over 200,000 steps`, () => {
    const totals = {
      numSteps: 0,
      numHits: 0,
      numFailures: 0,
      numMoves: 0,
      numForks: 0,
      numEvicted: 0,
      numSnapshots: 0,
      numInputHits: 0,
      numInputMisses: 0,
    };
    fc.assert(
      fc.property(fc.noBias(rigsOf(layouts)), histories, (sizes, history) => {
        const rig = new KvGroupRig(sizes);
        for (const step of history) apply(rig, step);
        rig.drain();
        totals.numSteps += history.length;
        totals.numHits += rig.numHits;
        totals.numFailures += rig.numFailures;
        totals.numMoves += rig.numMoves;
        totals.numForks += rig.numForks;
        totals.numSnapshots += rig.numSnapshots;
        totals.numInputHits += rig.numInputHits;
        totals.numInputMisses += rig.numInputMisses;
        totals.numEvicted += rig.manager.numEvicted;
      }),
      { seed: 60 + i, numRuns: runs(4000) },
    );
    assert(totals.numSteps >= times(200_000), `only ${totals.numSteps} steps`);
    const { numHits, numFailures, numMoves, numForks, numEvicted, numSnapshots } = totals;
    const { numInputHits, numInputMisses } = totals;
    const hasEncoder = layouts.some(({ groups }) => groups.some(({ kind }) => kind === "encoder"));
    const hasStates = layouts.some(({ groups }) => groups.includes(STATE));
    assert(
      numHits > times(3000) && numFailures > times(3000) && numMoves > times(500) &&
        numForks > times(hasStates ? 300 : 1000) && numEvicted > times(5000) &&
        numSnapshots >= times(hasStates ? 3000 : 0) &&
        Math.min(numInputHits, numInputMisses) >= times(hasEncoder ? 1000 : 0),
      JSON.stringify(totals),
    );
  });
}

Deno.test("BlockManager with groups makes the same decisions and tables from the same history", () => {
  const options = rigsOf(MODELS.flatMap(({ layouts }) => layouts));
  fc.assert(
    fc.property(options, histories, (sizes, history) => {
      const [first, second] = [new KvGroupRig(sizes), new KvGroupRig(sizes)];
      for (const step of history) for (const rig of [first, second]) apply(rig, step);
      assertEquals(second.history, first.history);
    }),
    { seed: 70, numRuns: runs(200) },
  );
});

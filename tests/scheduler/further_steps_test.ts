import { assert, assertEquals } from "@std/assert";
import type { Batch } from "../../src/core/batch.ts";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import { fakeGrammar, FakeMatchers } from "../support/fake_matchers.ts";
import { FULL, STATE, windowOf } from "../support/kv_groups.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** Steps of each chunk of a plan. */
function stepsOf(batch: Batch | undefined): number[] {
  return batch?.chunks.map(({ numDecodeSteps = 1 }) => numDecodeSteps) ?? [];
}

/** A rig whose one request has its prompt computed. */
function decoding(params: Partial<SamplingParams> = {}, options: RigOptions = {}): SchedulerRig {
  const rig = new SchedulerRig({ maxDecodeSteps: 4, ...options });
  rig.add(requestOf("a", 5, { maxTokens: 100, ...params }));
  rig.step();
  return rig;
}

/** What a request of `length` tokens answers by definition. */
function aloneOf(length: number, params: Partial<SamplingParams>): number[] {
  const [{ prompt, params: all }] = requestOf("a", length, params).sequences as [
    ReturnType<typeof requestOf>["sequences"][0],
  ];
  return generateAlone(prompt, all, 1000).tokens;
}

Deno.test("Scheduler plans several decode steps where nobody waits, with blocks for all of them", () => {
  const rig = decoding();
  const batch = rig.step()!;
  assertEquals(stepsOf(batch), [4]);
  assertEquals([batch.numTokens, batch.chunks[0]!.tokens.length], [1, 1]);
  // Positions 5 to 8, in blocks of 2.
  assertEquals(batch.chunks[0]!.blockTables[0]!.length, 5);
  assertEquals(rig.tokensOf("a"), aloneOf(5, { maxTokens: 100 }).slice(0, 5));
  const { numSteps, numFurtherDecodeSteps, numStepTokens, numGeneratedTokens } =
    rig.scheduler.stats;
  // The prompt's 5 positions, and 4.
  assertEquals([numSteps, numFurtherDecodeSteps, numStepTokens, numGeneratedTokens], [2, 3, 9, 5]);
});

Deno.test("Scheduler plans no more steps than it is told to, and one unless it may plan several", () => {
  const rig = decoding();
  assertEquals(stepsOf(rig.scheduler.schedule(0, { maxDecodeSteps: 3 })), [3]);
  assertEquals(stepsOf(decoding().scheduler.schedule(0, { maxDecodeSteps: 1 })), [1]);
  assertEquals(stepsOf(decoding({}, { maxDecodeSteps: 1 }).step()), [1]);
  const { maxDecodeSteps: _, ...options } = { maxDecodeSteps: 4 };
  const plain = new SchedulerRig(options);
  plain.add(requestOf("a", 5));
  plain.step();
  assertEquals(stepsOf(plain.step()), [1]);
});

Deno.test("Scheduler plans one step while a request waits or computes its prompt", () => {
  const rig = decoding({}, { maxNumSeqs: 2, maxNumBatchedTokens: 6 });
  rig.add(requestOf("b", 9, { maxTokens: 3 }), requestOf("c", 2, { maxTokens: 100 }));
  const plans: number[][] = [];
  while (rig.endOf("b") === undefined) plans.push(stepsOf(rig.step()));
  assertEquals(new Set(plans.flat()), new Set([1]));
  while (rig.scheduler.stats.numWaiting > 0) rig.step();
  rig.step();
  assertEquals(stepsOf(rig.step()), [4, 4]);
});

Deno.test("a sequence takes no step beyond its last token, its context, or the end of a short one", () => {
  assertEquals(stepsOf(decoding({ maxTokens: 3 }).step()), [2]);
  assertEquals(stepsOf(decoding({}, { maxModelLen: 9 }).step()), [3]);
  assertEquals(stepsOf(decoding({}, { shortContextLen: 7 }).step()), [2]);
  const narrow = decoding({}, { maxNumBatchedTokens: 3 });
  assertEquals([stepsOf(narrow.step()), stepsOf(narrow.step())], [[1], [3]]);
  const rig = new SchedulerRig({ maxDecodeSteps: 8 });
  rig.add(requestOf("a", 3, { maxTokens: 3 }), requestOf("b", 3, { maxTokens: 7 }));
  rig.step();
  assertEquals(stepsOf(rig.step()), [2, 6]);
  assertEquals([rig.endOf("a")!.finishReason, rig.endOf("b")!.finishReason], ["length", "length"]);
  assertEquals(rig.scheduler.stats.numWastedTokens, 0);
});

Deno.test("draws that depend on more than the tokens before them come one by one, for all that run", () => {
  const grammar = fakeGrammar("2");
  const matchers = new FakeMatchers();
  const cases: [Partial<SamplingParams>, number][] = [
    [{ frequencyPenalty: 0.5 }, 1],
    [{ logitBias: [[3, 1]] }, 1],
    [{ minTokens: 2, stopTokenIds: [99] }, 1],
    [{}, 4],
  ];
  for (const [params, numSteps] of cases) {
    const rig = new SchedulerRig({ maxDecodeSteps: 4 });
    rig.add(requestOf("a", 3, { maxTokens: 50, ...params }), requestOf("b", 3, { maxTokens: 50 }));
    rig.step();
    assertEquals(stepsOf(rig.step()), [numSteps, numSteps], JSON.stringify(params));
  }
  const withGrammar = new SchedulerRig({ maxDecodeSteps: 4, matchers });
  const { sequences } = requestOf("a", 3, { maxTokens: 9 });
  withGrammar.add({ id: "a", sequences: [{ ...sequences[0]!, grammar }] });
  withGrammar.step();
  assertEquals(stepsOf(withGrammar.step()), [1]);
  // Once stop tokens are held back no more, nothing is left to adjust.
  const rig = decoding({ minTokens: 2, stopTokenIds: [99] });
  rig.step();
  assertEquals(stepsOf(rig.step()), [4]);
});

Deno.test("what is drawn behind a stop token is dropped, counted, and cached for nobody", () => {
  const alone = aloneOf(5, { maxTokens: 100, seed: 3 });
  // The third token that one plan draws, the first of its kind.
  const stop = alone[3]!;
  assert(!alone.slice(0, 3).includes(stop), `${alone.slice(0, 4)}`);
  const options = { prefixCache: {}, blockSize: 3 };
  const rig = decoding({ stopTokenIds: [stop], seed: 3 }, options);
  rig.step();
  assertEquals(rig.tokensOf("a"), alone.slice(0, 4));
  assertEquals(rig.endOf("a")!.finishReason, "stop");
  const { numWastedTokens, numCachedBlocks } = rig.scheduler.stats;
  // Of 9 computed positions, the last is of the stop token, which nothing was to follow.
  assertEquals([numWastedTokens, numCachedBlocks], [1, 2]);
  assertEquals(rig.blocks.numInUse, 0);
});

Deno.test("a sequence that is aborted while its steps are in flight gives all of its blocks back", () => {
  const rig = decoding();
  const batch = rig.step(() => rig.scheduler.abort("a"))!;
  assertEquals(stepsOf(batch), [4]);
  assertEquals(rig.tokensOf("a").length, 1);
  assertEquals([rig.blocks.numInUse, rig.scheduler.stats.numWastedTokens], [0, 3]);
});

Deno.test("further steps take what room there is, by halves, and preempt nobody", () => {
  // Each has 4 tokens in 2 of the blocks; of 7, 3 are left for further steps of both.
  const rig = new SchedulerRig({ maxDecodeSteps: 8, numBlocks: 7 });
  rig.add(requestOf("a", 3, { maxTokens: 20 }), requestOf("b", 3, { maxTokens: 20 }));
  rig.step();
  assertEquals(stepsOf(rig.step()), [2, 2]);
  assertEquals(rig.scheduler.stats.numPreemptions, 0);
});

Deno.test("sequences with states take one step: a state holds no place to stop at, a window does", () => {
  const blocksPerSlab = [1, 1];
  const ofGroups = (other: CacheSpec) => decoding({}, { groups: [FULL, other], blocksPerSlab });
  assertEquals(stepsOf(ofGroups(STATE).step()), [1]);
  assertEquals(stepsOf(ofGroups(windowOf(4)).step()), [4]);
});

Deno.test("a draw that fails ends its sequence after the tokens that the steps before have drawn", () => {
  const alone = aloneOf(5, { maxTokens: 100 });
  const [several, single] = [4, 1].map((maxDecodeSteps) => {
    const rig = decoding({}, { prefixCache: {}, maxDecodeSteps });
    // The second token of the plan: nothing can be drawn after it.
    rig.runner.poison = alone[2];
    rig.finish();
    return { events: rig.events, numCached: rig.blocks.numIdle, numInUse: rig.blocks.numInUse };
  });
  assertEquals(several, single);
  const { events } = several!;
  assertEquals(events.flatMap(({ token }) => token ?? []), alone.slice(0, 3));
  assertEquals(events.at(-1)!.error!.code, "nonfinite_logits");
});

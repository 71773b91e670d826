import { assert, assertEquals } from "@std/assert";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { Batch } from "../../src/core/batch.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

const MIB = 2 ** 20;
/** A position takes 3 ms, a block of a MiB 1 ms out and 2 ms in. */
const COSTS = { tokenMs: 3, storeMsPerMiB: 1, loadMsPerMiB: 2 };
const SPACE = { numSlabs: 20, blockBytes: [MIB] };
const PARAMS = samplingParams({ maxTokens: 12 });

/** A request of so many samples of a prompt, which repeats one token. */
function requestOf(id: string, token: number, numTokens: number, n = 1): GenerationRequest {
  const prompt = new Uint32Array(numTokens).fill(token);
  const sequences = Array.from(
    { length: n },
    (_, i) => ({ prompt, params: { ...PARAMS, seed: i } }),
  );
  return { id, sequences };
}

/** A pool of 10 blocks of 2 positions, in which two answers cannot end together. */
class Rig extends SchedulerRig {
  readonly decisions: KvDecision[];

  constructor(options: RigOptions = {}) {
    const decisions: KvDecision[] = [];
    const swap = { swapSpace: SPACE, swapCosts: COSTS };
    super({ numBlocks: 10, ...swap, ...options, onDecision: (each) => decisions.push(each) });
    this.decisions = decisions;
  }

  /** Those of the decisions so far that are of copies. */
  get swaps(): KvDecision[] {
    const types = ["swap_out", "recompute", "swap_in", "swap_drop"];
    return this.decisions.filter(({ type }) => types.includes(type));
  }

  /** Serves two requests, the second of which gives way, and checks what they say. */
  serveTwo(): this {
    const requests = [requestOf("a", 1, 4), requestOf("b", 2, 4)];
    this.add(...requests);
    this.finish();
    for (const { id, sequences: [sequence] } of requests) {
      const { tokens } = generateAlone(sequence!.prompt, sequence!.params, 1000);
      assertEquals(this.tokensOf(id), tokens);
    }
    return this;
  }
}

Deno.test("a preempted sequence goes to host memory and back where that takes less, and says so with both numbers", () => {
  const rig = new Rig().serveTwo();
  // Of its 10 computed positions all are lost without a cache: 5 blocks there and back, or 30 ms.
  const estimate = { bytes: 5 * MIB, swapMs: 15, recomputeMs: 30 };
  assertEquals(rig.swaps, [
    { type: "swap_out", sequenceId: 1, numBlocks: 5, ...estimate },
    { type: "swap_in", sequenceId: 1, numBlocks: 5, bytes: 5 * MIB, numTokens: 10 },
  ]);
  const { numRecomputedTokens, numSwappedOutBlocks, numSwappedInBlocks, swappedInBytes } =
    rig.scheduler.stats;
  assertEquals([numRecomputedTokens, numSwappedOutBlocks, numSwappedInBlocks], [0, 5, 5]);
  assertEquals(swappedInBytes, 5 * MIB);
  assertEquals(rig.scheduler.stats.numUsedSwapBlocks, 0);
});

Deno.test("a plan that brings blocks back is of one step, since they may be lost", () => {
  const rig = new Rig({ maxDecodeSteps: 4 });
  rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
  const batches: Batch[] = [];
  while (rig.scheduler.hasWork) batches.push(rig.step()!);
  const loading = batches.filter(({ swapIns }) => swapIns !== undefined);
  assertEquals(
    loading.map(({ chunks }) => chunks.map(({ numDecodeSteps = 1 }) => numDecodeSteps)),
    [[1]],
  );
  assert(rig.scheduler.stats.numFurtherDecodeSteps > 0);
});

Deno.test("it is computed again where copying takes longer, or nothing is measured, or there is no room", () => {
  const recomputed = (options: RigOptions) => {
    const rig = new Rig(options).serveTwo();
    assert(rig.scheduler.stats.numRecomputedTokens > 0);
    return { swaps: rig.swaps, stats: rig.scheduler.stats };
  };
  const estimate = { bytes: 5 * MIB, swapMs: 15 };
  const slowCopies = recomputed({ swapCosts: { ...COSTS, tokenMs: 1.5 } }).swaps;
  assertEquals(slowCopies, [
    { type: "recompute", sequenceId: 1, reason: "cheaper", ...estimate, recomputeMs: 15 },
  ]);
  const { swapCosts: _, ...unmeasured } = new Rig().options;
  const rig = new SchedulerRig({ ...unmeasured, onDecision: (each) => decisions.push(each) });
  const decisions: KvDecision[] = [];
  rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
  rig.finish();
  assertEquals(decisions.filter(({ type }) => type === "recompute"), [
    { type: "recompute", sequenceId: 1, reason: "unmeasured" },
  ]);
  const { swaps, stats } = recomputed({ swapSpace: { ...SPACE, numSlabs: 4 } });
  assertEquals(swaps, [
    { type: "recompute", sequenceId: 1, reason: "full", ...estimate, recomputeMs: 30 },
  ]);
  assertEquals([stats.numSwapsRefused, stats.numSwappedOutBlocks], [1, 0]);
});

Deno.test("what the prefix cache keeps of preempted sequences makes computing cheaper, and is not copied back", () => {
  const rig = new Rig({ prefixCache: {}, numBlocks: 12 });
  rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
  rig.finish();
  const [out, back] = rig.swaps;
  assert(out?.type === "swap_out" && back?.type === "swap_in", JSON.stringify(rig.swaps));
  const { numHitTokens } = { numHitTokens: rig.scheduler.stats.numRehitTokens };
  assert(numHitTokens > 0, "the cache has kept nothing");
  assertEquals(back.numBlocks, out.numBlocks - numHitTokens / 2);
  // The next is expected to find as large a part.
  rig.add(requestOf("c", 3, 4), requestOf("d", 4, 4));
  rig.finish();
  const next = rig.swaps[2]!;
  assert(next.type === "swap_out" || next.type === "recompute");
  const numComputed = back.numTokens;
  const lost = 1 - numHitTokens / (numComputed + 1);
  assert(Math.abs(next.recomputeMs! - lost * numComputed * 3) < 1e-9, `${next.recomputeMs}`);
});

Deno.test("what resumed sequences and those of a reset find says nothing about what the cache keeps", () => {
  const estimateAfter = (between: (rig: Rig) => void) => {
    const rig = new Rig({ prefixCache: {}, numBlocks: 12 });
    rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
    rig.finish();
    assert(rig.scheduler.stats.numRehitTokens > 0, "the cache has kept nothing");
    between(rig);
    const before = rig.swaps.length;
    rig.add(requestOf("c", 3, 4), requestOf("d", 4, 4));
    rig.finish();
    const next = rig.swaps[before];
    assert(next?.type === "swap_out" || next?.type === "recompute", JSON.stringify(rig.swaps));
    return [next.swapMs, next.recomputeMs];
  };
  const expected = estimateAfter(() => {});
  const resumed = estimateAfter((rig) => {
    const request = requestOf("r", 5, 4);
    const { prompt, params } = request.sequences[0]!;
    const tokens = Uint32Array.from(generateAlone(prompt, params, 1000).tokens.slice(0, 5));
    rig.add({ ...request, resumed: { sequences: [{ tokens, hasEnded: false }], elapsedMs: 0 } });
    rig.finish();
  });
  const reset = estimateAfter((rig) => {
    rig.add(requestOf("r", 5, 4));
    rig.step();
    rig.step();
    assertEquals(rig.scheduler.resetPrefixCache(true), 1);
    rig.finish();
  });
  const waiting = estimateAfter((rig) => {
    const { numPreemptions } = rig.scheduler.stats;
    rig.add(requestOf("r", 5, 4), requestOf("s", 6, 4));
    while (rig.scheduler.stats.numPreemptions === numPreemptions) rig.step();
    rig.scheduler.resetPrefixCache(true);
    rig.scheduler.abort("r");
    rig.finish();
  });
  assertEquals([resumed, reset, waiting], [expected, expected, expected]);
});

Deno.test("blocks that others hold and the prefix cache finds are not copied", () => {
  const rig = new Rig({ prefixCache: {}, numBlocks: 14 });
  rig.add(requestOf("a", 1, 8, 2));
  rig.finish();
  const [out] = rig.swaps;
  const preempted = rig.decisions.find(({ type }) => type === "preempt");
  assert(out?.type === "swap_out" && preempted?.type === "preempt", JSON.stringify(rig.swaps));
  // The whole blocks of the prompt stay the other's; of the last position each has its own.
  assertEquals([preempted.numBlocks, out.numBlocks], [8, 5]);
  // 10 positions behind them.
  assertEquals(out.recomputeMs, 30);
  for (const [i, { prompt, params }] of requestOf("a", 1, 8, 2).sequences.entries()) {
    assertEquals(rig.tokensOf("a", i), generateAlone(prompt, params, 1000).tokens);
  }
});

Deno.test("without a prefix cache blocks are copied whoever holds them", () => {
  const rig = new Rig({ numBlocks: 14 });
  rig.add(requestOf("a", 1, 8, 2));
  rig.finish();
  const [out, back] = rig.swaps;
  assert(out?.type === "swap_out" && back?.type === "swap_in", JSON.stringify(rig.swaps));
  assertEquals(out.numBlocks, Math.ceil(back.numTokens / 2));
  assertEquals(rig.scheduler.stats.numRecomputedTokens, 0);
});

Deno.test("a sequence that ends while it waits gives its place in host memory back at once", () => {
  const rig = new Rig();
  rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
  while (rig.scheduler.stats.numSwapped === 0) rig.step();
  const { numSwapBlocks, numUsedSwapBlocks } = rig.scheduler.stats;
  assertEquals([numSwapBlocks, numUsedSwapBlocks], [20, 5]);
  rig.scheduler.abort("b");
  assertEquals([rig.scheduler.stats.numUsedSwapBlocks, rig.scheduler.stats.numSwapped], [0, 0]);
  rig.finish();
});

Deno.test("a reset forgets host memory, and what it preempts does not go there", () => {
  const rig = new Rig({ prefixCache: {} });
  rig.add(requestOf("a", 1, 4), requestOf("b", 2, 4));
  while (rig.scheduler.stats.numSwapped === 0) rig.step();
  const before = rig.swaps.length;
  assertEquals(rig.scheduler.resetPrefixCache(true), 1);
  assertEquals(rig.scheduler.stats.numUsedSwapBlocks, 0);
  assertEquals(rig.swaps.slice(before), [
    { type: "recompute", sequenceId: 0, reason: "stale" },
  ]);
  rig.finish();
  assertEquals(rig.scheduler.stats.numSwappedInBlocks, 0);
});

Deno.test("KV of a short context does not go to host memory when its sequence outgrows that", () => {
  const rig = new Rig({ shortContextLen: 8 });
  rig.add(requestOf("a", 1, 4));
  rig.finish();
  assertEquals(rig.swaps, [{ type: "recompute", sequenceId: 0, reason: "stale" }]);
});

Deno.test("beams are computed again", () => {
  const rig = new Rig({ numBlocks: 16 });
  rig.add(requestOf("a", 1, 4));
  const [sequence] = requestOf("b", 2, 4).sequences;
  const beamSearch = { width: 2, lengthPenalty: 1, earlyStopping: false } as const;
  rig.add({ id: "b", sequences: [sequence!, sequence!], beamSearch });
  rig.finish();
  assert(rig.scheduler.stats.numPreemptions > 0, "the search was not preempted");
  for (const each of rig.swaps) {
    assert(each.type === "recompute" && each.reason === "unsupported", JSON.stringify(each));
  }
  assert(rig.swaps.length > 0);
});

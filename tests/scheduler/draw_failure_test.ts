import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { CacheListener } from "../../src/kvcache/prefix/cache_listener.ts";
import { nonfiniteLogits } from "../../src/scheduler/draw_failure.ts";
import {
  requestFor,
  type SchedulerAction,
  schedulerHistories,
  tinyCachingRigs,
} from "../support/arbitraries.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";
import { runs, times } from "../support/runs.ts";

/** The token after which nothing can be drawn; those of other prompts are below it. */
const POISON = 99;

/** What can be found in the prefix cache, as its listener is told. */
class Findable implements CacheListener {
  readonly blocks = new Map<string, readonly number[]>();
  stored = ({ key, tokens }: Parameters<CacheListener["stored"]>[0]) =>
    void this.blocks.set(String(key), [...tokens]);
  removed = ({ keys }: Parameters<CacheListener["removed"]>[0]) => {
    for (const key of keys) {
      assert(this.blocks.delete(String(key)), "a block is removed that was not stored");
    }
  };
  used = () => {};
  cleared = () => this.blocks.clear();

  has(token: number): boolean {
    return [...this.blocks.values()].some((tokens) => tokens.includes(token));
  }
}

/** A rig whose fake model cannot go on after `poison`. */
function poisonedRig(options: RigOptions = {}, poison = POISON) {
  const findable = new Findable();
  const { prefixCache } = options;
  const caching = prefixCache && { prefixCache: { ...prefixCache, listener: findable } };
  const rig = new SchedulerRig({ ...options, ...caching });
  rig.runner.poison = poison;
  return { rig, findable };
}

function request(id: string, prompt: readonly number[], numSamples = 1): GenerationRequest {
  const sequences = Array.from({ length: numSamples }, (_, seed) => ({
    prompt: Uint32Array.from(prompt),
    params: samplingParams({ maxTokens: 6, seed }),
  }));
  return { id, sequences };
}

function assertFailed(rig: SchedulerRig, id: string, index = 0): void {
  const end = rig.endOf(id, index);
  assertEquals([end?.finishReason, end?.error?.code], ["error", "nonfinite_logits"], id);
  assertEquals([end?.error?.status, end?.error?.type], [500, "server_error"]);
}

function assertAsAlone(rig: SchedulerRig, { id, sequences }: GenerationRequest): void {
  sequences.forEach(({ prompt, params }, i) =>
    assertEquals(
      { tokens: rig.tokensOf(id, i), finishReason: rig.endOf(id, i)?.finishReason },
      generateAlone(prompt, params, rig.options.maxModelLen),
      `${id}/${i}`,
    )
  );
}

/** The fake model draws none of these. */
const PREFIX = [61, 62, 63, 64, 65, 66];
const BAD = [...PREFIX, 67, POISON, 68, 69, 70];
const CACHES: readonly RigOptions[] = [{}, { prefixCache: {} }];

for (const options of CACHES) {
  const name = options.prefixCache === undefined ? "without a cache" : "with a cache";

  Deno.test(`a sequence of which nothing can be drawn ends alone, ${name}`, () => {
    for (const maxNumBatchedTokens of [3, 1000]) {
      const { rig, findable } = poisonedRig({ ...options, maxNumBatchedTokens });
      const others = Array.from({ length: 8 }, (_, i) => request(`good ${i}`, [...PREFIX, 20 + i]));
      for (let round = 0; round < 20; round++) {
        const goods = others.map(({ id, sequences }) => ({ id: `${id}, ${round}`, sequences }));
        rig.add(...goods.slice(0, 4), request(`bad ${round}`, BAD), ...goods.slice(4));
        rig.finish();
        assertFailed(rig, `bad ${round}`);
        for (const good of goods) assertAsAlone(rig, good);
        assert(!findable.has(POISON) && !findable.has(68), "what is unsound can be found");
        assertEquals(rig.blocks.numInUse, 0);
        assertEquals(rig.scheduler.stats.numCorrupted, round + 1);
      }
      const isCached = options.prefixCache !== undefined;
      assertEquals(findable.has(66), isCached, "the prefix that others share is sound");
    }
  });

  Deno.test(`all samples and beams of a prompt of which nothing can be drawn end, ${name}`, () => {
    const { rig, findable } = poisonedRig({ ...options, maxNumBatchedTokens: 5 });
    const beamSearch = { width: 3, lengthPenalty: 1, earlyStopping: true };
    const good = request("good", [...PREFIX, 30], 3);
    rig.add(request("samples", BAD, 3), good, { ...request("beams", BAD, 3), beamSearch });
    rig.finish();
    for (const index of [0, 1, 2]) {
      assertFailed(rig, "samples", index);
      assertFailed(rig, "beams", index);
    }
    assertAsAlone(rig, good);
    assert(!findable.has(POISON));
    assertEquals(rig.blocks.numInUse, 0);
  });

  Deno.test(`a search ends whose beam has drawn what nothing follows, ${name}`, () => {
    let numLate = 0;
    for (let poison = 0; poison < 17; poison++) {
      const { rig, findable } = poisonedRig(options, poison);
      const beamSearch = { width: 4, lengthPenalty: 1, earlyStopping: false };
      const good = request("good", [31, 32, 33]);
      rig.add({ ...request("beams", [20, 21, 22], 4), beamSearch }, good);
      const numSteps = () => rig.runner.batches.length;
      while (rig.endOf("beams") === undefined) rig.step();
      const isFailed = rig.endOf("beams")!.finishReason === "error";
      if (isFailed && numSteps() > 2) numLate++;
      rig.finish();
      if (isFailed) [0, 1, 2, 3].forEach((index) => assertFailed(rig, "beams", index));
      if (isFailed) assert(!findable.has(poison));
      const alone = generateAlone(good.sequences[0]!.prompt, good.sequences[0]!.params, 1000);
      if (!alone.tokens.includes(poison)) assertAsAlone(rig, good);
      assertEquals(rig.blocks.numInUse, 0);
    }
    assert(numLate > 3, `only ${numLate} searches ended after their first step`);
  });
}

Deno.test("what an aborted sequence left unsound is found once and never again", () => {
  const { rig, findable } = poisonedRig({ prefixCache: {}, maxNumBatchedTokens: 10 });
  rig.add(request("left", [...BAD, 11, 12, 13]));
  rig.step();
  rig.scheduler.abort("left");
  rig.finish();
  assert(findable.has(POISON), "the abort came too late for this test");
  rig.add(request("finds", BAD));
  rig.finish();
  assertFailed(rig, "finds");
  assertEquals(rig.events.find(({ requestId }) => requestId === "finds")?.numCachedTokens, 10);
  assert(!findable.has(POISON) && !findable.has(70) && findable.has(66));
  rig.runner.poison = undefined;
  const again = request("again", BAD);
  rig.add(again);
  rig.finish();
  assertAsAlone(rig, again);
});

Deno.test("who shares blocks that are forgotten goes on, and caches nothing below them", () => {
  const { rig, findable } = poisonedRig({ prefixCache: {} });
  const first = request("first", [...PREFIX, 40, 41]);
  const late = request("late", [...PREFIX, 50, 51]);
  rig.add(first);
  rig.step();
  rig.add(late);
  rig.step();
  // As if the KV of token 63 had been spoiled in memory.
  const tokens = Uint32Array.from([...PREFIX, 40, 41]);
  rig.blocks.tryAdmit(77, tokens);
  rig.blocks.discard(77, tokens, 2);
  rig.blocks.checkIntegrity();
  assertEquals([findable.has(62), findable.has(63), findable.has(40)], [true, false, false]);
  rig.finish();
  assertAsAlone(rig, first);
  assertAsAlone(rig, late);
  assertEquals([...findable.blocks.values()], [[61, 62]]);
  assertEquals(rig.blocks.numInUse, 0);
});

Deno.test("a table with duplicates of cached blocks is discarded with what was cached in their stead", () => {
  const { rig, findable } = poisonedRig({ prefixCache: {} });
  const tokens = Uint32Array.from(BAD);
  for (const id of [1, 2]) rig.blocks.tryAdmit(id, tokens);
  for (const id of [1, 2]) rig.blocks.markComputed(id, tokens, tokens.length);
  assert(findable.has(POISON));
  rig.blocks.discard(2, tokens, 3);
  rig.blocks.checkIntegrity();
  assertEquals([...findable.blocks.values()], [[61, 62]]);
  rig.blocks.free(1);
  rig.blocks.checkIntegrity();
  assertEquals([...findable.blocks.values()], [[61, 62]]);
});

Deno.test("a sequence that is aborted while its failing step is in flight leaves nothing", () => {
  const { rig, findable } = poisonedRig({ prefixCache: {} });
  rig.add(request("bad", BAD));
  rig.step(() => rig.scheduler.abort("bad"));
  rig.finish();
  assertEquals(rig.endOf("bad")?.finishReason, "abort");
  assertEquals([...findable.blocks.values()], []);
  assertEquals(rig.blocks.numInUse, 0);
});

/** Does one thing to a rig; `accepted` gets what it takes. */
function apply(rig: SchedulerRig, action: SchedulerAction, accepted: GenerationRequest[]): void {
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      assert(error instanceof RequestError, `${error}`);
    }
  };
  switch (action.verb) {
    case "submit": {
      const submitted = { id: `r${accepted.length}`, ...requestFor(rig.options, action.request) };
      attempt(() => {
        rig.add(submitted);
        accepted.push(submitted);
      });
      break;
    }
    case "abort": {
      const chosen = accepted[action.pick % Math.max(1, accepted.length)];
      if (chosen !== undefined) rig.scheduler.abort(chosen.id, action.index);
      break;
    }
    case "step":
      rig.step(() => action.inFlight.forEach((inner) => apply(rig, inner, accepted)));
      break;
    case "reset":
      rig.scheduler.resetPrefixCache(true);
      break;
    case "resize":
      attempt(() => rig.resize(action.numBlocks === 0 ? rig.minNumBlocks : action.numBlocks));
  }
  rig.scheduler.checkIntegrity();
}

Deno.test("under any history only those sequences fail of which nothing can be drawn", () => {
  const poison = 2;
  let numFailed = 0;
  let numDrawnPoison = 0;
  let numClean = 0;
  fc.assert(
    fc.property(tinyCachingRigs, schedulerHistories, (options, actions) => {
      const { rig, findable } = poisonedRig(options, poison);
      const accepted: GenerationRequest[] = [];
      for (const action of actions) apply(rig, action, accepted);
      rig.finish();
      assertEquals(rig.blocks.numInUse, 0);
      let isClean = true;
      for (const { id, sequences } of accepted) {
        sequences.forEach(({ prompt, params }, index) => {
          const alone = generateAlone(prompt, params, rig.options.maxModelLen);
          const end = rig.endOf(id, index)!;
          const tokens = rig.tokensOf(id, index);
          const isBad = (numTokens: number) =>
            prompt.includes(poison) || alone.tokens.slice(0, numTokens).includes(poison);
          assertEquals(tokens, alone.tokens.slice(0, tokens.length));
          assert(
            tokens.length === 0 || !isBad(tokens.length - 1),
            "a token was drawn after the poison",
          );
          if (end.error?.code === "nonfinite_logits") {
            numFailed++;
            if (!prompt.includes(poison)) numDrawnPoison++;
            assert(isBad(tokens.length), "it failed without poison");
          } else if (end.finishReason === "abort" || end.finishReason === "error") isClean = false;
          else assertEquals({ tokens, finishReason: end.finishReason! }, alone);
        });
      }
      if (!isClean) return;
      numClean++;
      assert(!findable.has(poison), "what is unsound can be found");
    }),
    { seed: 5, numRuns: runs(3000) },
  );
  assert(
    numFailed > times(2000) && numDrawnPoison > times(100),
    `${numFailed} and ${numDrawnPoison} failed`,
  );
  assert(numClean > times(300), `only ${numClean} histories without aborts`);
});

Deno.test("nonfiniteLogits() says where, and which --kv-cache-dtype to try", () => {
  const damage = { position: 12, layer: 3, dtype: "f16", isTooLarge: true } as const;
  const overflow = nonfiniteLogits({ numSoundTokens: 12, kvDamage: damage });
  assert(overflow.message.includes("layer 3 at position 12 are beyond 65504"), overflow.message);
  assert(overflow.message.includes("--kv-cache-dtype f32"));
  assertEquals(overflow.details, { layer: 3, position: 12 });
  const inF32 = nonfiniteLogits({ numSoundTokens: 12, kvDamage: { ...damage, dtype: "f32" } });
  assert(!inF32.message.includes("--kv-cache-dtype"), inF32.message);
  const { message, details } = nonfiniteLogits({ numSoundTokens: 20 });
  assert(message.includes("keys and values do not") && details === undefined, message);
  const unknown = nonfiniteLogits({ numSoundTokens: 0 }).message;
  assertEquals(unknown, "The model's logits for this sequence are not finite numbers");
});

Deno.test("a sequence of which nothing can be drawn in a further step is counted as others are", () => {
  let numFailed = 0;
  for (let poison = 0; poison < 17; poison++) {
    const { rig, findable } = poisonedRig({ prefixCache: {}, maxDecodeSteps: 8 }, poison);
    rig.add(request("a", [20, 21, 22]));
    rig.finish();
    const isFailed = rig.endOf("a")?.finishReason === "error";
    if (isFailed) numFailed++;
    if (isFailed) assertFailed(rig, "a");
    const { numCorrupted, numFurtherDecodeSteps } = rig.scheduler.stats;
    assertEquals(numCorrupted, isFailed ? 1 : 0, `${poison}`);
    assert(numFurtherDecodeSteps > 0 || isFailed, "the plans are of single steps");
    assert(!findable.has(poison) || !isFailed);
    assertEquals(rig.blocks.numInUse, 0);
  }
  assert(numFailed > 2, `only ${numFailed} failed`);
});

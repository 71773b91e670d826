import { assert, assertEquals, AssertionError, assertRejects } from "@std/assert";
import fc from "fast-check";
import { replaySteps, stepTraceLines } from "../../bench/replay_steps.ts";
import type { Batch, BlockMove, ChunkResult } from "../../src/core/batch.ts";
import type { EngineCommand } from "../../src/core/engine_command.ts";
import type { EngineConfig, SchedulingSettings } from "../../src/core/engine_config.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { SwapTimes } from "../../src/core/swap_space.ts";
import type { Runner } from "../../src/engine/engine.ts";
import { parseStepTraceRecord } from "../../src/engine/step_trace.ts";
import { EngineSession } from "../../src/engine/engine_session.ts";
import { StepTraceWriter } from "../../src/engine/step_trace_writer.ts";
import { startRunner } from "../../src/runner/start_runner.ts";
import {
  decodeSteps,
  requestFor,
  type SchedulerAction,
  schedulerHistories,
  schedulings,
  tinyCachingRigs,
  withSwap,
} from "../support/arbitraries.ts";
import { DEMO_DIR, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";
import { fakeGrammar, FakeMatchers } from "../support/fake_matchers.ts";
import { Outbox } from "../support/outbox.ts";
import { PagedFakeRunner } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** A rig that writes a step trace of what is done to it, as the engine does. */
class StepTraceRig {
  readonly rig: SchedulerRig;
  readonly lines: string[] = [];
  readonly batches: Batch[] = [];
  readonly #ids: string[] = [];
  readonly #stepTrace: StepTraceWriter;
  #ms = 0;

  constructor(options: RigOptions, scheduling: SchedulingSettings) {
    const clock = { now: () => this.#ms++ };
    this.#stepTrace = new StepTraceWriter((line) => this.lines.push(line.trimEnd()), { clock });
    const { prefixCache } = options;
    const caching = prefixCache && { prefixCache: { ...prefixCache, now: this.#stepTrace.now } };
    this.rig = new SchedulerRig({ ...options, ...scheduling, ...caching });
    const { numBlocks, blockSize, numWatermarkBlocks, ...limits } = this.rig.options;
    const { maxModelLen, maxNumSeqs, maxNumBatchedTokens, maxNumQueuedSeqs } = limits;
    const sizes = { numBlocks, blockSize, numWatermarkBlocks, maxModelLen, maxNumSeqs };
    const { swapSpace, swapCosts: costs } = limits;
    const swap = swapSpace && { swapSpace };
    const policy = prefixCache && { evictionPolicy: prefixCache.policy! };
    this.#stepTrace.record({
      type: "start",
      sizes: {
        ...sizes,
        maxNumBatchedTokens,
        maxNumQueuedSeqs,
        ...scheduling,
        ...policy,
        ...swap,
      },
    });
    if (costs) this.#stepTrace.record({ type: "costs", costs });
  }

  apply(action: SchedulerAction): void {
    const { scheduler } = this.rig;
    this.#stepTrace.tick();
    switch (action.verb) {
      case "submit":
        return this.#submit(action);
      case "abort": {
        const requestId = this.#ids[action.pick];
        if (requestId === undefined) return;
        const index = action.index === undefined ? {} : { index: action.index };
        this.#stepTrace.record({ type: "abort", requestId, ...index });
        return scheduler.abort(requestId, action.index);
      }
      case "reset": {
        const command = { type: "reset_prefix_cache", preempt: true } as const;
        this.#stepTrace.record({ type: "command", command });
        scheduler.resetPrefixCache(true);
        return;
      }
      case "resize":
        return this.#resize(action.numBlocks);
      case "step":
        return this.#step(action.inFlight);
    }
  }

  #submit({ request }: SchedulerAction & { verb: "submit" }): void {
    const added = { id: `r${this.#ids.length}`, ...requestFor(this.rig.options, request) };
    try {
      this.rig.scheduler.add(added, this.#stepTrace.now());
    } catch (error) {
      if (error instanceof RequestError) return;
      throw error;
    }
    this.#ids.push(added.id);
    this.#stepTrace.record({ type: "add", request: added });
  }

  #resize(numBlocks: number): void {
    if (numBlocks < this.rig.minNumBlocks) return;
    this.rig.resize(numBlocks);
    this.#stepTrace.record({ type: "resize", numBlocks });
  }

  #step(inFlight: readonly SchedulerAction[]): void {
    // Another bound each time, as times vary.
    const maxPrefillTokens = [1, 2, 3].map((digits) => 1 + this.#ms % (3 * digits));
    const bounds = {
      maxDecodeSteps: 1 + this.#ms % 4,
      ...(this.#ms % 5 === 0 ? { maxPrefillTokens } : {}),
    };
    const batch = this.rig.scheduler.schedule(this.#stepTrace.now(), bounds);
    this.#stepTrace.record({ type: "plan", bounds, ...(batch === undefined ? {} : { batch }) });
    if (batch === undefined) return;
    this.batches.push(batch);
    const results = this.rig.runner.run(batch);
    for (const action of inFlight) this.apply(action);
    this.#stepTrace.tick();
    this.#stepTrace.record({ type: "results", step: batch.step, results });
    this.rig.scheduler.commit(batch, results);
  }
}

const STEP: SchedulerAction = { verb: "step", inFlight: [] };

/** Plays a history to its end. */
function traced(
  options: RigOptions,
  actions: readonly SchedulerAction[],
  scheduling: SchedulingSettings = {},
): StepTraceRig {
  const { forceMiss: _, ...caching } = options.prefixCache ?? {};
  const own = options.prefixCache ? { ...options, prefixCache: caching } : options;
  const rig = new StepTraceRig(own, scheduling);
  for (const action of actions) rig.apply(action);
  while (rig.rig.scheduler.hasWork) rig.apply(STEP);
  return rig;
}

Deno.test("replaySteps() plans as any history did, and a device draws the same of it", async () => {
  let numSteps = 0;
  let numPreemptions = 0;
  let numHitTokens = 0;
  let numFurtherDecodeSteps = 0;
  await fc.assert(
    fc.asyncProperty(
      ...[tinyCachingRigs, schedulerHistories, schedulings, decodeSteps] as const,
      async (sizes, actions, scheduling, steps) => {
        const { lines, rig, batches } = traced(sizes, actions, { ...scheduling, ...steps });
        const alone = await replaySteps(lines);
        const onDevice = await replaySteps(
          lines,
          ({ sizes }) => Promise.resolve(new PagedFakeRunner(sizes)),
        );
        assertEquals([alone.numSteps, onDevice.numSteps], [batches.length, batches.length]);
        numSteps += alone.numSteps;
        numPreemptions += rig.scheduler.stats.numPreemptions;
        numHitTokens += rig.scheduler.stats.numHitTokens;
        numFurtherDecodeSteps += rig.scheduler.stats.numFurtherDecodeSteps;
        // A plan that is kept stays what it was when it was made, whatever has been done since.
        const plans = lines.map((line) => parseStepTraceRecord(line));
        assertEquals(
          batches,
          plans.flatMap((record) => record.type === "plan" && record.batch || []),
        );
      },
    ),
    { seed: 11, numRuns: 560 },
  );
  assert(
    numSteps > 4000 && numPreemptions > 10 && numHitTokens > 200 && numFurtherDecodeSteps > 50,
    `${[numSteps, numPreemptions, numHitTokens, numFurtherDecodeSteps]}`,
  );
});

Deno.test("replaySteps() plans copies to host memory and back as they were, lost ones too", async () => {
  let numSwappedIn = 0;
  let numLost = 0;
  const rigs = withSwap(tinyCachingRigs);
  await fc.assert(
    fc.asyncProperty(rigs, schedulerHistories, async (options, actions) => {
      const { lines, rig, batches } = traced(options, actions);
      const { numSteps } = await replaySteps(lines, ({ sizes }) => {
        const runner = new PagedFakeRunner(sizes);
        runner.loseEvery = options.loseEvery!;
        return Promise.resolve(runner);
      });
      assertEquals(numSteps, batches.length);
      numSwappedIn += rig.scheduler.stats.numSwappedInBlocks;
      numLost += rig.scheduler.stats.numSwapsCorrupt;
    }),
    { seed: 12, numRuns: 300 },
  );
  assert(numSwappedIn > 20 && numLost > 0, `${[numSwappedIn, numLost]}`);
});

const REQUEST = {
  sequences: [{ prompt: Uint32Array.of(1, 2, 3), params: { ...GREEDY_64, maxTokens: 4 } }],
};

Deno.test("replaySteps() plans a grammar's draws as they were, without the grammar", async () => {
  const { sequences } = requestOf("a", 5, { maxTokens: 6 });
  const grammar = fakeGrammar("2");
  const request = { sequences: [{ ...sequences[0]!, grammar }, sequences[0]!] };
  const rig = traced({ matchers: new FakeMatchers() }, [{ verb: "submit", request }]);
  assert(rig.lines.some((line) => line.includes('"allowedTokens"')));
  assert(rig.lines.some((line) => line.includes('"grammar":{"key":"2"}')));
  assertEquals((await replaySteps(rig.lines)).numSteps, rig.batches.length);
});

Deno.test("replaySteps() fails where a plan or a draw is another", async () => {
  const { lines } = traced({ numBlocks: 20 }, [{ verb: "submit", request: REQUEST }]);
  await replaySteps(lines);
  const plan = lines.findIndex((line) => line.includes('"start":3'));
  const otherPlan = lines.with(
    plan,
    lines[plan]!.replace('"blockTables":[[0,1]]', '"blockTables":[[0,2]]'),
  );
  await assertRejects(() => replaySteps(otherPlan), AssertionError, "the plan is another");
  const runner = new PagedFakeRunner({ numBlocks: 20, blockSize: 2 });
  runner.poison = 2;
  const failing = replaySteps(lines, () => Promise.resolve(runner));
  await assertRejects(() => failing, AssertionError, "step 0 draws something else");
});

Deno.test("replaySteps() leaves out the line that an engine's end has cut off, and no other", async () => {
  const { lines } = traced({ numBlocks: 20 }, [{ verb: "submit", request: REQUEST }]);
  const { numSteps } = await replaySteps(lines);
  const cut = lines.at(-1)!.slice(0, -9);
  const replayed = await replaySteps([...lines, cut, ...lines, "{"]);
  assertEquals(replayed, { numEngines: 2, numSteps: 2 * numSteps, numDraws: 0, numCutLines: 2 });
  await assertRejects(() => replaySteps([lines[0]!, cut, ...lines.slice(1)]), SyntaxError);
});

const CONFIG: EngineConfig = {
  modelDir: DEMO_DIR,
  device: "cpu",
  blockSize: 8,
  numBlocksOverride: 24,
  kvCacheDtype: "f32",
  enablePrefixCaching: true,
  cacheSecret: "never written",
  maxModelLen: 64,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 16,
  maxNumQueuedSeqs: 10,
};

Deno.test("a step trace of the bundled model is planned and drawn alike again, after a restart too", async () => {
  const traceSteps = Deno.makeTempFileSync();
  const config = { ...CONFIG, traceSteps };
  const prompt = Uint32Array.from(goldenPrompts()[0]!.prompt_ids).slice(0, 20);
  const params = { ...GREEDY_64, maxTokens: 6, temperature: 1, topP: 0.9, numLogprobs: 1 };
  for (const seed of [1, 2]) {
    const outbox = new Outbox();
    const session = new EngineSession({ startRunner, post: outbox.post, reportBug: () => {} });
    session.receive({ type: "start", config });
    await outbox.until(() => outbox.types.includes("ready"));
    const sequences = [0, 1].map((i) => ({ prompt, params: { ...params, seed: seed + i } }));
    session.receive({ type: "submit", request: { id: "a", sequences } });
    await outbox.untilEnd("a");
    const commands: EngineCommand[] = [
      { type: "pin_prefix", name: "p", tokens: prompt },
      { type: "resize_kv", numBlocks: 20 },
      { type: "unpin_prefix", name: "p" },
      { type: "reset_prefix_cache", preempt: false },
    ];
    commands.forEach((command, id) => session.receive({ type: "command", id, command }));
    session.receive({ type: "submit", request: { id: "b", sequences: [sequences[0]!] } });
    session.receive({ type: "submit", request: { id: "c", sequences: [sequences[1]!] } });
    await outbox.until(() => outbox.tokensOf("c").length > 0);
    session.receive({ type: "abort", id: "c" });
    await outbox.untilEnd("b");
    await outbox.untilEnd("c");
    session.receive({ type: "stop" });
    await outbox.until(() => outbox.types.includes("stopped"));
  }
  const text = Deno.readTextFileSync(traceSteps);
  Deno.removeSync(traceSteps);
  assertEquals(text.includes("never written"), false);
  const replayed = await replaySteps(stepTraceLines(`${text}{"cut of`), async () => {
    const { runner } = await startRunner(CONFIG, () => {});
    return runner;
  });
  const types = new Set(text.trimEnd().split("\n").map((line) => parseStepTraceRecord(line).type));
  assertEquals([...types].sort(), [
    "abort",
    "add",
    "command",
    "plan",
    "resize",
    "results",
    "start",
  ]);
  assertEquals([replayed.numEngines, replayed.numCutLines], [2, 1]);
  assert(replayed.numSteps > 24 && replayed.numDraws > 36, JSON.stringify(replayed));
});

const MIB = 2 ** 20;

/** A model whose steps and copies take what they are said to, by the clock that it moves on. */
class TimedRunner implements Runner {
  readonly #runner: Runner;
  readonly #msPerToken: number;
  readonly #msPerMiB: number;
  #ms = 0;
  readonly clock = { now: () => this.#ms };

  constructor(runner: Runner, { msPerToken, msPerMiB }: Record<"msPerToken" | "msPerMiB", number>) {
    this.#runner = runner;
    this.#msPerToken = msPerToken;
    this.#msPerMiB = msPerMiB;
  }

  get swapTimes(): SwapTimes {
    const { storedBytes, storeMs, loadedBytes, loadMs } = this.#runner.swapTimes!;
    assert(storeMs > 0 && loadMs > 0, "the runner has not measured its copies");
    const [stored, loaded] = [storedBytes, loadedBytes].map((n) => n / MIB * this.#msPerMiB);
    return { storedBytes, storeMs: stored!, loadedBytes, loadMs: loaded! };
  }

  async run(batch: Batch, onSubmitted: () => void): Promise<readonly ChunkResult[]> {
    const { storeMs, loadMs } = this.swapTimes;
    const results = await this.#runner.run(batch, onSubmitted);
    const copied = this.swapTimes.storeMs - storeMs + this.swapTimes.loadMs - loadMs;
    this.#ms += 1 + batch.numTokens * this.#msPerToken + copied;
    return results;
  }

  resizeKv(numBlocks: number, moves: readonly BlockMove[]): Promise<void> {
    return this.#runner.resizeKv!(numBlocks, moves);
  }

  destroy(): void {
    this.#runner.destroy?.();
  }
}

const SWAPPING: EngineConfig = {
  ...CONFIG,
  enablePrefixCaching: false,
  numBlocksOverride: 16,
  swapMemoryBytes: 2 ** 22,
};

/** The step trace of three answers that do not fit together, on a model that takes these times. */
async function tracedOverload(times: Record<"msPerToken" | "msPerMiB", number>): Promise<string> {
  const traceSteps = Deno.makeTempFileSync();
  const outbox = new Outbox();
  const started = await startRunner(SWAPPING, () => {});
  const runner = new TimedRunner(started.runner, times);
  const session = new EngineSession({
    startRunner: () => Promise.resolve({ ...started, runner }),
    post: outbox.post,
    reportBug: () => {},
    clock: runner.clock,
  });
  session.receive({ type: "start", config: { ...SWAPPING, traceSteps } });
  await outbox.until(() => outbox.types.includes("ready"));
  const sequences = [0, 1, 2].map((i) => ({
    prompt: Uint32Array.from(goldenPrompts()[i]!.prompt_ids).slice(0, 18),
    params: { ...GREEDY_64, maxTokens: 40 },
  }));
  sequences.forEach((sequence, i) =>
    session.receive({ type: "submit", request: { id: `${i}`, sequences: [sequence] } })
  );
  for (const i of sequences.keys()) await outbox.untilEnd(`${i}`);
  session.receive({ type: "stop" });
  await outbox.until(() => outbox.types.includes("stopped"));
  const text = Deno.readTextFileSync(traceSteps);
  Deno.removeSync(traceSteps);
  return text;
}

/** How many blocks were copied to host memory, and back. */
function numSwapped(text: string): { numOut: number; numIn: number } {
  const records = text.trimEnd().split("\n").map((line) => parseStepTraceRecord(line));
  assert(records.some(({ type }) => type === "costs"), "nothing was measured");
  const plans = records.flatMap((record) => record.type === "plan" && record.batch || []);
  return {
    numOut: plans.flatMap(({ swapOuts = [] }) => swapOuts).length,
    numIn: plans.flatMap(({ swapIns = [] }) => swapIns).length,
  };
}

Deno.test("an engine copies to host memory where it measures that to be faster, and is replayed", async () => {
  const text = await tracedOverload({ msPerToken: 10, msPerMiB: 1 });
  const { numOut, numIn } = numSwapped(text);
  assert(numOut > 0 && numIn === numOut, `${numOut} blocks went out, ${numIn} came back`);
  const replayed = await replaySteps(stepTraceLines(text), async () => {
    const { runner } = await startRunner(SWAPPING, () => {});
    return runner;
  });
  assert(replayed.numDraws >= 120, JSON.stringify(replayed));
});

Deno.test("an engine computes again where it measures copies to be slower", async () => {
  const text = await tracedOverload({ msPerToken: 1, msPerMiB: 1e6 });
  assertEquals(numSwapped(text), { numOut: 0, numIn: 0 });
});

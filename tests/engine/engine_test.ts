import { assert, assertEquals, assertRejects } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import type { Batch } from "../../src/core/batch.ts";
import type { PoolResized } from "../../src/core/engine_command.ts";
import { KernelError } from "../../src/core/errors.ts";
import { parseStepTraceRecord } from "../../src/engine/step_trace.ts";
import { Engine, type EngineOptions, type Runner } from "../../src/engine/engine.ts";
import { StepPace } from "../../src/engine/step_pace.ts";
import { StepTraceWriter } from "../../src/engine/step_trace_writer.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Outbox } from "../support/outbox.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** An engine over a fake model whose loop runs until `finish`. */
class EngineRig {
  readonly rig: SchedulerRig;
  readonly outbox = new Outbox();
  readonly engine: Engine;
  readonly #loop: Promise<void>;

  constructor(sizes: RigOptions = {}, options: Partial<EngineOptions> = {}) {
    this.rig = new SchedulerRig(sizes);
    const { scheduler, runner } = this.rig;
    this.engine = new Engine({ scheduler, runner, post: this.outbox.post, ...options });
    this.#loop = this.engine.loop();
  }

  async finish(): Promise<void> {
    this.engine.stop();
    await this.#loop;
  }
}

Deno.test("Engine answers a submission, then posts one message per step", async () => {
  const rig = new EngineRig({ maxNumBatchedTokens: 2 });
  const { outbox } = rig;
  const request = requestOf("a", 5, { maxTokens: 3 });
  rig.engine.submit(request);
  await outbox.untilEnd("a");
  assertEquals(outbox.types, ["accepted", "events", "events", "events", "events", "events"]);
  const { prompt, params } = request.sequences[0]!;
  assertEquals(outbox.tokensOf("a"), generateAlone(prompt, params, 1000).tokens);
  assertEquals([outbox.stats.numSteps, outbox.stats.numGeneratedTokens], [5, 3]);
  await rig.finish();
});

Deno.test("Engine takes several decode steps as its pace says, and posts their tokens as events of one message", async () => {
  const lines: string[] = [];
  const stepTrace = new StepTraceWriter((line) => lines.push(line), { clock: new ManualClock() });
  const rig = new EngineRig({ maxDecodeSteps: 4 }, { pace: new StepPace(), stepTrace });
  const { outbox } = rig;
  const request = requestOf("a", 5, { maxTokens: 7 });
  rig.engine.submit(request);
  await outbox.untilEnd("a");
  const posted = outbox.messages.flatMap((message) =>
    message.type === "events" ? [message.events.map(({ token }) => token !== undefined)] : []
  );
  // The prompt's, the first that shows how long one takes, four, and the last.
  assertEquals(posted.map(({ length }) => length), [1, 1, 4, 1]);
  assert(posted.flat().every((hasToken) => hasToken));
  const { prompt, params } = request.sequences[0]!;
  assertEquals(outbox.tokensOf("a"), generateAlone(prompt, params, 1000).tokens);
  const plans = lines.map((line) => parseStepTraceRecord(line)).filter(({ type }) =>
    type === "plan"
  );
  assertEquals(plans.map((plan) => plan.type === "plan" && plan.bounds?.maxDecodeSteps), [
    ...[1, 1, 8, 8],
  ]);
  await rig.finish();
});

Deno.test("Engine says which requests a step begins with, before it runs it", async () => {
  const outbox = new Outbox();
  const { scheduler, runner: model } = new SchedulerRig({ maxNumSeqs: 2 });
  const runner: Runner = {
    run(batch) {
      if (batch.step === 2) throw new KernelError("rms_norm", "gone");
      return model.run(batch);
    },
  };
  const engine = new Engine({ scheduler, runner, post: outbox.post });
  engine.submit(requestOf("a", 1, { maxTokens: 2 }));
  engine.submit(requestOf("b", 1, { maxTokens: 9 }));
  engine.submit(requestOf("c", 1));
  await assertRejects(() => engine.loop(), KernelError, "gone");
  assertEquals(outbox.admitted, [["a", "b"], ["c"]]);
});

Deno.test("Engine refuses with the error as data, and goes on", async () => {
  const rig = new EngineRig({ maxModelLen: 4 });
  rig.engine.submit(requestOf("large", 9));
  rig.engine.submit(requestOf("small", 1));
  await rig.outbox.untilEnd("small");
  const [refused] = rig.outbox.messages;
  assert(refused?.type === "refused");
  assertEquals([refused.id, refused.error.code], ["large", "context_length_exceeded"]);
  await rig.finish();
});

Deno.test("Engine ends a request by its clock when its timeout has passed", async () => {
  const clock = new ManualClock();
  const { runner: model } = new SchedulerRig();
  const runner: Runner = {
    run(batch) {
      clock.advance(1000);
      return model.run(batch);
    },
  };
  const rig = new EngineRig({}, { runner, clock });
  clock.advance(5000);
  rig.engine.submit({ ...requestOf("a", 3, { maxTokens: 50 }), timeoutMs: 3500 });
  rig.engine.submit(requestOf("b", 3, { maxTokens: 6 }));
  await rig.outbox.untilEnd("b");
  const { outbox } = rig;
  assertEquals([outbox.tokensOf("a").length, outbox.tokensOf("b").length], [4, 6]);
  assertEquals(outbox.stats.numTimeouts, 1);
  await rig.finish();
});

Deno.test("Engine wakes from idleness for each new request", async () => {
  const rig = new EngineRig();
  for (const id of ["a", "b", "c"]) {
    rig.engine.submit(requestOf(id, 2));
    await rig.outbox.untilEnd(id);
    assertEquals(rig.rig.scheduler.hasWork, false);
  }
  await rig.finish();
});

Deno.test("Engine lets messages in between steps: a short answer ends before a long one", async () => {
  const rig = new EngineRig();
  const channel = new MessageChannel();
  channel.port1.onmessage = () => rig.engine.submit(requestOf("short", 1, { maxTokens: 1 }));
  rig.engine.submit(requestOf("long", 1, { maxTokens: 300 }));
  channel.port2.postMessage("go");
  await Promise.all([rig.outbox.untilEnd("long"), rig.outbox.untilEnd("short")]);
  const ends = rig.outbox.events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.map(({ requestId }) => requestId), ["short", "long"]);
  channel.port1.close();
  channel.port2.close();
  await rig.finish();
});

Deno.test("Engine.abort() while a step is in flight ends the request with that step", async () => {
  const started = Promise.withResolvers<Batch>();
  const device = Promise.withResolvers<void>();
  const paged = new SchedulerRig().runner;
  const runner: Runner = {
    async run(batch) {
      started.resolve(batch);
      await device.promise;
      return paged.run(batch);
    },
  };
  const rig = new EngineRig({}, { runner });
  rig.engine.submit(requestOf("a", 2));
  await started.promise;
  rig.engine.abort("a");
  device.resolve();
  await rig.outbox.untilEnd("a");
  assertEquals(rig.outbox.events, [
    { requestId: "a", index: 0, finishReason: "abort", numCachedTokens: 0 },
  ]);
  assertEquals(rig.outbox.stats.numFreeBlocks, rig.outbox.stats.numBlocks);
  await rig.finish();
});

Deno.test("Engine posts an abort that leaves no work", async () => {
  const rig = new EngineRig();
  rig.engine.submit(requestOf("a", 2));
  rig.engine.abort("a");
  await rig.outbox.untilEnd("a");
  assertEquals(rig.outbox.events.length, 1);
  assertEquals(rig.outbox.stats.numSteps, 0);
  await rig.finish();
});

Deno.test("Engine posts the end of a sequence that cannot grow, with no step to carry it", async () => {
  const rig = new EngineRig({ numBlocks: 1, blockSize: 2 });
  rig.engine.submit(requestOf("a", 2, { maxTokens: 9 }));
  await rig.outbox.untilEnd("a");
  assertEquals(rig.outbox.events.map(({ finishReason }) => finishReason), [undefined, "error"]);
  assertEquals(rig.outbox.stats.numSteps, 1);
  await rig.finish();
});

Deno.test("Engine counts as host time what the device waited for in each step", async () => {
  const clock = new ManualClock();
  const paged = new SchedulerRig().runner;
  const runner = {
    waitedMs: 0,
    overlappedMs: 0,
    run(batch: Batch) {
      clock.advance(10);
      this.waitedMs += 7;
      this.overlappedMs += 2;
      return paged.run(batch);
    },
  };
  const rig = new EngineRig({}, { runner, clock });
  rig.engine.submit(requestOf("a", 1, { maxTokens: 3 }));
  await rig.outbox.untilEnd("a");
  const { stepMs, hostMs, overlappedMs } = rig.outbox.stats;
  assertEquals([stepMs, hostMs, overlappedMs], [30, 3, 6]);
  await rig.finish();
});

/** What is posted before, during and after each run of a runner that says when it has submitted. */
async function messagesByRun(after: (rig: EngineRig, run: number) => void): Promise<number[][]> {
  const paged = new SchedulerRig().runner;
  const posted: number[][] = [];
  const runner: Runner = {
    run(batch, onSubmitted) {
      const before = rig.outbox.messages.length;
      onSubmitted();
      posted.push([before, rig.outbox.messages.length]);
      after(rig, posted.length);
      return paged.run(batch);
    },
  };
  const rig = new EngineRig({}, { runner });
  rig.engine.submit(requestOf("a", 1, { maxTokens: 3 }));
  await rig.outbox.untilEnd("a");
  await rig.finish();
  return [...posted, [rig.outbox.messages.length]];
}

Deno.test("Engine posts a step's events while the next is computed, or when there is none", async () => {
  // The first message is the answer to the submission.
  assertEquals(await messagesByRun(() => {}), [[1, 1], [1, 2], [2, 3], [4]]);
});

Deno.test("Engine posts what it holds back before it answers a command or stops", async () => {
  const commanded = await messagesByRun((rig, run) => {
    if (run === 1) rig.engine.command(1, { type: "check_integrity" });
  });
  // Events of the first step, those of the command, and its answer.
  assertEquals(commanded, [[1, 1], [4, 4], [4, 5], [6]]);
  const stopped = new EngineRig();
  stopped.engine.submit(requestOf("a", 1, { maxTokens: 300 }));
  await stopped.outbox.until(() => stopped.outbox.events.length >= 2);
  await stopped.finish();
  assertEquals(stopped.outbox.events.length, stopped.outbox.stats.numSteps);
});

Deno.test("Engine posts what it holds back before the end of a request that is aborted then", async () => {
  const runner = new SchedulerRig().runner;
  const rig = new EngineRig({}, {
    runner: {
      run(batch) {
        if (batch.step === 1) queueMicrotask(() => queueMicrotask(() => rig.engine.abort("a")));
        return runner.run(batch);
      },
    },
  });
  rig.engine.submit(requestOf("a", 1, { maxTokens: 9 }));
  await rig.outbox.untilEnd("a");
  const { events } = rig.outbox;
  assertEquals(events.map(({ finishReason }) => finishReason), [undefined, undefined, "abort"]);
  await rig.finish();
});

Deno.test("Engine posts what it holds back before it fails", async () => {
  const paged = new SchedulerRig().runner;
  const outbox = new Outbox();
  const { scheduler } = new SchedulerRig();
  const runner: Runner = {
    run(batch) {
      if (batch.step === 2) throw new KernelError("rms_norm", "gone");
      return paged.run(batch);
    },
  };
  const engine = new Engine({ scheduler, runner, post: outbox.post });
  engine.submit(requestOf("a", 1, { maxTokens: 9 }));
  await assertRejects(() => engine.loop(), KernelError, "gone");
  assertEquals(outbox.types, ["accepted", "events", "events"]);
});

Deno.test("Engine.loop() rejects with the runner's error", async () => {
  const outbox = new Outbox();
  const { scheduler } = new SchedulerRig();
  const runner = {
    run(): never {
      throw new KernelError("rms_norm", "no such pipeline");
    },
  };
  const engine = new Engine({ scheduler, runner, post: outbox.post });
  engine.submit(requestOf("a", 1));
  await assertRejects(() => engine.loop(), KernelError, "rms_norm");
  assertEquals(outbox.types, ["accepted"]);
});

Deno.test("Engine.loop() audits the pool when it becomes idle", async () => {
  const { scheduler, runner, blocks } = new SchedulerRig();
  const outbox = new Outbox();
  const engine = new Engine({ scheduler, runner, post: outbox.post });
  engine.submit(requestOf("a", 1));
  blocks.tryAdmit(99, Uint32Array.of(1));
  await assertRejects(() => engine.loop(), InvariantError, "block tables");
  assert(outbox.events.some(({ finishReason }) => finishReason === "length"));
});

Deno.test("Engine.command() is answered while idle, and the statistics follow", async () => {
  const rig = new EngineRig({ prefixCache: {} });
  rig.engine.submit(requestOf("a", 9));
  await rig.outbox.untilEnd("a");
  assertEquals(rig.outbox.stats.numCachedBlocks > 0, true);
  rig.engine.command(7, { type: "reset_prefix_cache", preempt: false });
  rig.engine.command(8, { type: "check_integrity" });
  await rig.outbox.until(() => rig.outbox.stats.numCachedBlocks === 0);
  const answers = rig.outbox.messages.filter(({ type }) => type === "reply");
  assertEquals(answers, [
    { type: "reply", id: 7, value: { numPreempted: 0 } },
    { type: "reply", id: 8, value: { numBlocks: 200, numFreeBlocks: 200, numCachedBlocks: 0 } },
  ]);
  await rig.finish();
});

Deno.test("Engine.command() waits for the step in flight, and may be refused", async () => {
  const started = Promise.withResolvers<void>();
  const device = Promise.withResolvers<void>();
  const paged = new SchedulerRig().runner;
  const runner: Runner = {
    async run(batch) {
      started.resolve();
      await device.promise;
      return paged.run(batch);
    },
  };
  const rig = new EngineRig({ prefixCache: {} }, { runner });
  const request = requestOf("a", 5, { maxTokens: 3 });
  rig.engine.submit(request);
  await started.promise;
  rig.engine.command(0, { type: "reset_prefix_cache", preempt: false });
  rig.engine.command(1, { type: "reset_prefix_cache", preempt: true });
  assertEquals(rig.outbox.types, ["accepted"]);
  device.resolve();
  await rig.outbox.untilEnd("a");
  const answers = rig.outbox.messages.filter((message) => message.type === "reply");
  assertEquals(answers.map(({ id, error, value }) => [id, error?.status, value]), [
    [0, 409, undefined],
    [1, undefined, { numPreempted: 1 }],
  ]);
  const { prompt, params } = request.sequences[0]!;
  assertEquals(rig.outbox.tokensOf("a"), generateAlone(prompt, params, 1000).tokens);
  assertEquals(rig.outbox.stats.numPreemptions, 1);
  await rig.finish();
});

Deno.test("Engine.command() resizes the pool between steps, and answers stay what they are", async () => {
  const rig = new EngineRig({ numBlocks: 40, blockSize: 2, maxModelLen: 20, prefixCache: {} });
  const requests = ["a", "b", "c", "d"].map((id, i) => requestOf(id, i + 2, { maxTokens: 15 }));
  for (const request of requests) rig.engine.submit(request);
  const sizes = [90, 40, 33, 50, 41];
  for (const [id, numBlocks] of sizes.entries()) {
    const numSteps = 2 * id + 1;
    await rig.outbox.until(() =>
      rig.outbox.types.includes("events") && rig.outbox.stats.numSteps >= numSteps
    );
    rig.engine.command(id, { type: "resize_kv", numBlocks });
  }
  for (const { id } of requests) await rig.outbox.untilEnd(id);
  const answers = rig.outbox.messages.filter((message) => message.type === "reply");
  assertEquals(answers.map(({ value }) => (value as PoolResized).numAfter), sizes);
  for (const { id, sequences: [sequence] } of requests) {
    const { tokens } = generateAlone(sequence!.prompt, sequence!.params, 20);
    assertEquals(rig.outbox.tokensOf(id), tokens);
  }
  const { numBlocks, numPoolResizes, numPoolGrowths } = rig.outbox.stats;
  assertEquals([numBlocks, numPoolResizes, numPoolGrowths], [41, 5, 0]);
  await rig.finish();
});

Deno.test("Engine.command() refuses a resize that cannot be, with the numbers", async () => {
  const rig = new EngineRig({ numBlocks: 8, blockSize: 2, maxModelLen: 12 });
  rig.rig.runner.maxNumBlocks = 9;
  rig.engine.command(0, { type: "resize_kv", numBlocks: 5 });
  rig.engine.command(1, { type: "resize_kv", numBlocks: 10 });
  await rig.outbox.until(() => rig.outbox.types.filter((type) => type === "reply").length === 2);
  const answers = rig.outbox.messages.filter((message) => message.type === "reply");
  assertEquals(answers.map(({ error }) => [error?.status, error?.code]), [
    [400, "kv_pool_too_small"],
    [409, "out_of_device_memory"],
  ]);
  assertEquals([rig.outbox.stats.numBlocks, rig.outbox.stats.numPoolResizes], [8, 0]);
  await rig.finish();

  const paged = new SchedulerRig().runner;
  const fixed = new EngineRig({}, { runner: { run: (batch) => paged.run(batch) } });
  fixed.engine.command(0, { type: "resize_kv", numBlocks: 300 });
  await fixed.outbox.until(() => fixed.outbox.types.includes("reply"));
  const refused = fixed.outbox.messages.find((message) => message.type === "reply");
  assertEquals(refused?.error?.code, "kv_pool_fixed");
  await fixed.finish();
});

Deno.test("Engine lets the pool grow instead of preempting or waiting, as far as it may", async () => {
  const preemptions: [number, number, number][] = [];
  for (const maxNumBlocks of [0, 8, 100]) {
    const sizes = { numBlocks: 6, blockSize: 2, maxModelLen: 12 };
    const rig = new EngineRig(sizes, { maxNumBlocks });
    const requests = ["a", "b", "c", "d", "e"].map((id) => requestOf(id, 4, { maxTokens: 8 }));
    for (const request of requests) rig.engine.submit(request);
    for (const { id } of requests) await rig.outbox.untilEnd(id);
    for (const { id, sequences: [sequence] } of requests) {
      const { tokens } = generateAlone(sequence!.prompt, sequence!.params, 12);
      assertEquals(rig.outbox.tokensOf(id), tokens);
    }
    const { numBlocks, numPoolGrowths, numPreemptions } = rig.outbox.stats;
    preemptions.push([numBlocks, numPoolGrowths, Math.sign(numPreemptions)]);
    await rig.finish();
  }
  assertEquals(preemptions, [[6, 0, 1], [8, 1, 1], [48, 3, 0]]);
});

Deno.test("Engine posts what it holds back before the pool grows, which may take long", async () => {
  const sizes = { numBlocks: 6, blockSize: 2, maxModelLen: 12 };
  const memory = new SchedulerRig(sizes).runner;
  const posted: [numSteps: number, numMessages: number][] = [];
  let numSteps = 0;
  const runner: Runner = {
    run: (batch) => (numSteps++, memory.run(batch)),
    resizeKv(numBlocks, moves) {
      posted.push([numSteps, rig.outbox.types.filter((type) => type === "events").length]);
      return memory.resizeKv(numBlocks, moves);
    },
  };
  const rig = new EngineRig(sizes, { runner, maxNumBlocks: 100 });
  for (const id of ["a", "b"]) rig.engine.submit(requestOf(id, 4, { maxTokens: 8 }));
  for (const id of ["a", "b"]) await rig.outbox.untilEnd(id);
  await rig.finish();
  assert(posted.some(([steps]) => steps > 0));
  for (const [steps, messages] of posted) assertEquals(messages, steps);
});

/** Lets the loop go on to its rest. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

Deno.test("Engine.pulse counts what is completed, and shows work that does not advance", async () => {
  const started = Promise.withResolvers<void>();
  const device = Promise.withResolvers<void>();
  const paged = new SchedulerRig().runner;
  const runner: Runner = {
    async run(batch) {
      if (batch.step === 1) {
        started.resolve();
        await device.promise;
      }
      return paged.run(batch);
    },
  };
  const rig = new EngineRig({ maxNumSeqs: 1 }, { runner });
  rig.engine.command(0, { type: "check_integrity" });
  await rig.outbox.until(() => rig.outbox.types.includes("reply"));
  await turn();
  assertEquals(rig.engine.pulse, { numAdvances: 1, isBusy: false });
  rig.engine.submit(requestOf("a", 1, { maxTokens: 3 }));
  rig.engine.submit(requestOf("b", 1, { maxTokens: 1 }));
  await started.promise;
  const work = "the device computes step 1 of 1 chunks and 1 tokens; " +
    "1 running, 1 waiting, 199 of 200 blocks free, 0 evictable; " +
    "b[0] waits: 1 sequences of a step needed, 1 of 1 taken (--max-num-seqs)";
  assertEquals(rig.engine.pulse, { numAdvances: 2, isBusy: true, work });
  device.resolve();
  await rig.outbox.untilEnd("a");
  await rig.outbox.untilEnd("b");
  assertEquals(rig.engine.pulse.numAdvances, 5);
  await rig.finish();
});

Deno.test("Engine.pulse shows a command that never ends as work", async () => {
  const started = Promise.withResolvers<void>();
  const device = Promise.withResolvers<void>();
  const sizes = { numBlocks: 8, blockSize: 2, maxModelLen: 4 };
  const { runner } = new SchedulerRig(sizes);
  const slow: Runner = {
    run: (batch) => runner.run(batch),
    resizeKv: (...size) => {
      started.resolve();
      return device.promise.then(() => runner.resizeKv(...size));
    },
  };
  const rig = new EngineRig(sizes, { runner: slow });
  rig.engine.command(0, { type: "resize_kv", numBlocks: 6 });
  await started.promise;
  const work = "the command resize_kv is carried out; " +
    "0 running, 0 waiting, 6 of 6 blocks free, 0 evictable";
  assertEquals(rig.engine.pulse, { numAdvances: 0, isBusy: true, work });
  device.resolve();
  await rig.outbox.until(() => rig.outbox.types.includes("reply"));
  await turn();
  assertEquals(rig.engine.pulse, { numAdvances: 1, isBusy: false });
  await rig.finish();
});

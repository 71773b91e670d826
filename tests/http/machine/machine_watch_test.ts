import { assert, assertEquals, assertThrows } from "@std/assert";
import type { EngineView } from "../../../src/core/engine_view.ts";
import { EngineUnavailableError, RequestError } from "../../../src/core/errors.ts";
import { emptyMap } from "../../../src/http/machine/block_changes.ts";
import { MachineWatch, MAX_VIEWERS } from "../../../src/http/machine/machine_watch.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { FakeEngine } from "../fake_engine.ts";

/** A watch of a fake engine, on a clock that is turned by hand. */
class Watched {
  readonly engine = new FakeEngine();
  readonly clock = new ManualClock();
  readonly errors: unknown[] = [];
  listener: unknown;
  readonly watch = new MachineWatch(
    this.engine,
    { watchLatencies: (listener) => this.listener = listener },
    { clock: this.clock, onError: (error) => this.errors.push(error) },
  );

  get numViews(): number {
    return this.engine.commands.filter(({ type }) => type === "view").length;
  }

  /** The engine has made a step, and its next view is this. */
  step(changes: Partial<EngineView> = {}): void {
    const { stats, answers } = this.engine;
    this.engine.stats = { ...stats, numSteps: stats.numSteps + 1 };
    this.engine.answers = { ...answers, view: { ...answers.view, ...changes } };
  }

  /** Lets time pass until the next look, and what follows from it. */
  async turn(ms = 250): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }
}

/** Lets promises run. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}

// deno-lint-ignore no-explicit-any -- frames are JSON of several shapes
async function read(frames: AsyncGenerator<string, void>): Promise<any> {
  const { value } = await frames.next();
  return JSON.parse(value!);
}

Deno.test("MachineWatch asks nothing of the engine while nobody watches, and stops with the last viewer", async () => {
  const rig = new Watched();
  await rig.turn(10_000);
  assertEquals([rig.numViews, rig.listener], [0, undefined]);
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  await read(frames);
  assert(rig.listener !== undefined);
  abort.abort();
  await settle();
  assertEquals([rig.watch.numViewers, rig.listener], [0, undefined]);
  const { numViews } = rig;
  for (let i = 0; i < 5; i++) {
    rig.step();
    await rig.turn(1000);
  }
  assertEquals(rig.numViews, numViews);
});

Deno.test("MachineWatch asks once for all viewers, and not again before something has happened", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const viewers = Array.from({ length: 5 }, () => rig.watch.join(abort.signal));
  for (const frames of viewers) assertEquals((await read(frames)).is_whole, true);
  assertEquals(rig.numViews, 1);
  for (let i = 0; i < 3; i++) await rig.turn();
  assertEquals(rig.numViews, 1);
  rig.step();
  await rig.turn();
  for (const frames of viewers) assertEquals((await read(frames)).is_whole, false);
  assertEquals(rig.numViews, 2);
  abort.abort();
});

Deno.test("MachineWatch rests two hundred times as long as a view has taken the engine", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  rig.step({ tookMs: 5 });
  await read(rig.watch.join(abort.signal));
  rig.step();
  await rig.turn(999);
  assertEquals(rig.numViews, 1);
  await rig.turn(1);
  assertEquals(rig.numViews, 2);
  abort.abort();
});

Deno.test("MachineWatch gives a viewer that falls behind the latest frame, whole", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const [fast, slow] = [rig.watch.join(abort.signal), rig.watch.join(abort.signal)];
  const first = await read(slow);
  await read(fast);
  for (let step = 1; step <= 3; step++) {
    rig.step({ step });
    await rig.turn();
    const { is_whole, frame } = await read(fast);
    assertEquals([is_whole, frame], [false, first.frame + step]);
  }
  const next = await read(slow);
  assertEquals([next.is_whole, next.step, next.frame], [true, 3, first.frame + 3]);
  abort.abort();
});

Deno.test("MachineWatch sends a pool of another size whole", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  assertEquals((await read(frames)).blocks.count, 64);
  rig.step({ blocks: emptyMap(32) });
  await rig.turn();
  const { is_whole, blocks } = await read(frames);
  assertEquals([is_whole, blocks.count], [true, 32]);
  abort.abort();
});

Deno.test("MachineWatch asks for the tree now and then, and once more when the engine has come to rest", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  const hasTree = () =>
    rig.engine.commands.flatMap((each) => each.type === "view" ? each.maxNumRuns > 0 : []);
  await read(frames);
  rig.step();
  await rig.turn();
  assertEquals(hasTree(), [true, false]);
  await rig.turn();
  assertEquals(hasTree(), [true, false, true]);
  const { numViews } = rig;
  await rig.turn();
  assertEquals(rig.numViews, numViews);
  abort.abort();
});

Deno.test("MachineWatch says when the engine is away and why, and shows it whole when it is back", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  await read(frames);
  rig.engine.state = "restarting";
  rig.engine.failure = "the device was lost";
  rig.engine.refusal = new EngineUnavailableError("The engine is restarting");
  await rig.turn();
  const away = await read(frames);
  assertEquals([away.type, away.state, away.reason], [
    "away",
    "restarting",
    "the device was lost",
  ]);
  rig.engine.state = "ready";
  rig.engine.refusal = undefined;
  await rig.turn();
  assertEquals((await read(frames)).is_whole, true);
  assertEquals(rig.errors, []);
  abort.abort();
});

Deno.test("MachineWatch tells an outage second by second, and counts nothing of it as pace", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  await read(frames);
  rig.engine.state = "restarting";
  rig.engine.failure = "the device was lost";
  rig.engine.refusal = new EngineUnavailableError("The engine is restarting");
  const seen: (number | undefined)[] = [];
  const follow = (async () => {
    for await (const text of frames) seen.push(JSON.parse(text).outage?.seconds);
  })();
  for (let ms = 250; ms <= 3000; ms += 250) {
    rig.engine.outage = { elapsedMs: ms, numFailures: 1 };
    await rig.turn();
  }
  assertEquals(seen, [0.25, 1, 2, 3]);
  assertEquals(rig.watch.history.moments, []);
  rig.engine.outage = rig.engine.refusal = undefined;
  Object.assign(rig.engine, { state: "ready", numRestarts: 1 });
  await rig.turn();
  assertEquals(seen.at(-1), undefined);
  abort.abort();
  await follow;
});

Deno.test("MachineWatch tells second by second that the engine does not get on, until it does", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  await read(frames);
  const { promise, resolve } = Promise.withResolvers<void>();
  const command = rig.engine.command.bind(rig.engine);
  rig.engine.command = async (asked) => {
    await promise;
    return await command(asked);
  };
  const reason = "the device computes";
  rig.engine.stall = { seconds: 30, reason };
  await rig.turn();
  for (let seconds = 31; seconds < 34; seconds++) {
    rig.engine.stall = { seconds, reason };
    await rig.turn(1000);
    const away = await read(frames);
    assertEquals([away.type, away.stalled_seconds, away.reason], ["away", seconds, reason]);
  }
  rig.engine.stall = undefined;
  resolve();
  await settle();
  const { type, is_whole, tree } = await read(frames);
  assertEquals([type, is_whole, tree !== undefined], ["frame", true, true]);
  // It is not asked on behind that.
  await rig.turn();
  const { numViews } = rig;
  await rig.turn(5000);
  assertEquals([rig.numViews, rig.errors], [numViews, []]);
  abort.abort();
});

Deno.test("MachineWatch outlives a view that fails, and tells of it", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  rig.engine.refusal = new RequestError("This engine shows no view");
  const frames = rig.watch.join(abort.signal);
  assertEquals((await read(frames)).reason, "This engine shows no view");
  assertEquals(rig.errors, [rig.engine.refusal]);
  rig.engine.refusal = undefined;
  rig.step();
  await rig.turn();
  assertEquals((await read(frames)).type, "frame");
  abort.abort();
});

Deno.test("MachineWatch has a bounded number of viewers, and gives the place of one that leaves to another", () => {
  const rig = new Watched();
  const aborts = Array.from({ length: MAX_VIEWERS }, () => new AbortController());
  for (const { signal } of aborts) rig.watch.join(signal);
  const { signal } = new AbortController();
  const { data } = assertThrows(() => rig.watch.join(signal), RequestError) as RequestError;
  assertEquals([data.status, data.code], [429, "too_many_viewers"]);
  aborts[0]!.abort();
  rig.watch.join(aborts[1]!.signal);
  assertEquals(rig.watch.numViewers, MAX_VIEWERS);
  for (const abort of aborts) abort.abort();
  assertEquals(rig.watch.numViewers, 0);
});

Deno.test("MachineWatch tells the decisions since the frame before", async () => {
  const rig = new Watched();
  const abort = new AbortController();
  const frames = rig.watch.join(abort.signal);
  assertEquals((await read(frames)).decisions, []);
  const decision = { type: "allocate", sequenceId: 3, numBlocks: 2, step: 1, timeMs: 5 } as const;
  rig.engine.decisions.append([decision]);
  await rig.turn();
  const [told, ...none] = (await read(frames)).decisions;
  assertEquals([told.seq, told.sequence_id, told.time_ms, none], [0, 3, 5, []]);
  abort.abort();
});

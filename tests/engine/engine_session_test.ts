import { assertEquals } from "@std/assert";
import { EventLoopPing } from "../../src/base/event_loop_ping.ts";
import {
  type EngineConfig,
  type EngineInfo,
  EVICTION_POLICIES,
} from "../../src/core/engine_config.ts";
import { DeviceLostError, OutOfMemoryError, StartupError } from "../../src/core/errors.ts";
import type { Runner } from "../../src/engine/engine.ts";
import { EngineSession, type StartRunner } from "../../src/engine/engine_session.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";
import { Outbox } from "../support/outbox.ts";
import { generateAlone, PagedFakeRunner } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";

const CONFIG: EngineConfig = {
  modelDir: "models/fake",
  device: "cpu",
  blockSize: FAKE_INFO.blockSize,
  kvCacheDtype: "f32",
  enablePrefixCaching: true,
  maxNumSeqs: 99,
  maxNumBatchedTokens: 99,
  maxNumQueuedSeqs: 2,
};

/** A session in an isolate that only takes notes. */
class SessionRig {
  readonly outbox = new Outbox();
  readonly bugs: unknown[] = [];
  readonly session: EngineSession;

  constructor(startRunner: StartRunner) {
    this.session = new EngineSession({
      startRunner,
      post: this.outbox.post,
      reportBug: (error) => this.bugs.push(error),
    });
  }

  /** Starts and waits until the session is ready. */
  async start(config: Partial<EngineConfig> = {}): Promise<void> {
    this.session.receive({ type: "start", config: { ...CONFIG, ...config } });
    await this.outbox.until(() => this.outbox.types.includes("ready"));
  }

  /** Resolves with the session's last words. */
  get failed(): Promise<void> {
    return this.outbox.until(() => this.outbox.types.includes("failed"));
  }

  /** Ends the session by breaking the rules. */
  async end(): Promise<void> {
    this.session.receive({ type: "submit", request: { id: "end", sequences: [] } });
    await this.failed;
  }
}

const startFake: StartRunner = (_config, progress) => {
  progress("loading");
  return Promise.resolve({
    runner: new PagedFakeRunner(FAKE_INFO),
    info: FAKE_INFO,
    modelFingerprint: "fake",
  });
};

function startBroken(error: unknown): StartRunner {
  const runner: Runner = { run: () => Promise.reject(error) };
  return () => Promise.resolve({ runner, info: FAKE_INFO, modelFingerprint: "fake" });
}

Deno.test("EngineSession starts, tells its progress, and serves", async () => {
  const rig = new SessionRig(startFake);
  await rig.start();
  const request = requestOf("a", 3);
  rig.session.receive({ type: "submit", request });
  await rig.outbox.untilEnd("a");
  assertEquals(rig.outbox.types.slice(0, 3), ["progress", "ready", "accepted"]);
  const { prompt, params } = request.sequences[0]!;
  assertEquals(rig.outbox.tokensOf("a"), generateAlone(prompt, params, 100).tokens);
  assertEquals(rig.outbox.stats.numBlocks, FAKE_INFO.numBlocks);
  await rig.end();
});

Deno.test("EngineSession computes sequences beyond a short context anew, as the runner says", async () => {
  const info = { ...FAKE_INFO, shortContextLen: 4 };
  const rig = new SessionRig(async (config, progress) => ({
    ...await startFake(config, progress),
    info,
  }));
  await rig.start();
  const request = requestOf("a", 3);
  rig.session.receive({ type: "submit", request });
  await rig.outbox.untilEnd("a");
  const { prompt, params } = request.sequences[0]!;
  const alone = generateAlone(prompt, params, 100, { shortContextLen: 4 });
  assertEquals(rig.outbox.tokensOf("a"), alone.tokens);
  assertEquals(rig.outbox.stats.numPreemptions, 1);
  await rig.end();
});

Deno.test("EngineSession takes the queue's limit from the configuration", async () => {
  const rig = new SessionRig(startFake);
  await rig.start();
  // Messages that arrive together are read before the next step, so these three wait at once.
  for (const id of ["a", "b", "c"]) {
    rig.session.receive({ type: "submit", request: requestOf(id, 1) });
  }
  assertEquals(rig.outbox.types.slice(2), ["accepted", "accepted", "refused"]);
  await rig.end();
});

for (const evictionPolicy of EVICTION_POLICIES) {
  Deno.test(`EngineSession serves with a prefix cache (${evictionPolicy}) or without, as configured`, async () => {
    for (const enablePrefixCaching of [true, false]) {
      const rig = new SessionRig(startFake);
      await rig.start({ enablePrefixCaching, evictionPolicy, cacheSecret: "a secret" });
      for (const id of ["a", "b"]) {
        rig.session.receive({ type: "submit", request: requestOf(id, 5, { maxTokens: 2 }) });
        await rig.outbox.untilEnd(id);
      }
      const numCached = rig.outbox.events.flatMap(({ numCachedTokens }) => numCachedTokens ?? []);
      assertEquals(numCached, [0, enablePrefixCaching ? 4 : 0]);
      await rig.end();
    }
  });
}

Deno.test("EngineSession names cached blocks by their format, so that no other format finds them", async () => {
  const formats: Partial<EngineInfo>[] = [
    {},
    { kvCacheDtype: "f16" },
    { kvCacheDtype: "int8" },
    { kvCacheDtype: "int8", kvCacheF16EdgeLayers: true },
    { blockSize: FAKE_INFO.blockSize / 2 },
  ];
  const keys: string[] = [];
  for (const format of formats) {
    const info = { ...FAKE_INFO, ...format };
    const rig = new SessionRig(() =>
      Promise.resolve({ runner: new PagedFakeRunner(info), info, modelFingerprint: "fake" })
    );
    await rig.start({ cacheSecret: "a secret" });
    rig.session.receive({ type: "submit", request: requestOf("a", 9, { maxTokens: 2 }) });
    await rig.outbox.untilEnd("a");
    const stored = rig.outbox.messages
      .flatMap((message) => message.type === "events" ? message.kvEvents ?? [] : [])
      .find(({ type }) => type === "stored");
    keys.push(stored?.type === "stored" ? stored.parentKey : "nothing was stored");
    await rig.end();
  }
  assertEquals(new Set(keys).size, formats.length, keys.join(", "));
});

Deno.test("EngineSession passes an abort on, of one sequence and of all", async () => {
  const rig = new SessionRig(startFake);
  await rig.start();
  const [sequence] = requestOf("a", 1, { maxTokens: 50 }).sequences;
  rig.session.receive({
    type: "submit",
    request: { id: "a", sequences: [sequence!, sequence!] },
  });
  rig.session.receive({ type: "abort", id: "a", index: 1 });
  await rig.outbox.until(() => rig.outbox.tokensOf("a").length > 0);
  rig.session.receive({ type: "abort", id: "a" });
  await rig.outbox.until(() => rig.outbox.stats.numRunning === 0);
  const ends = rig.outbox.events.filter(({ finishReason }) => finishReason === "abort");
  assertEquals(ends.map(({ index }) => index), [1, 0]);
  await rig.end();
});

Deno.test("EngineSession tells the user's mistake at start, and leaves its end to the main isolate", async () => {
  const rig = new SessionRig(() => Promise.reject(new StartupError("No config.json there")));
  rig.session.receive({ type: "start", config: CONFIG });
  await rig.outbox.until(() => rig.outbox.types.includes("failed"));
  assertEquals(rig.outbox.messages, [
    { type: "failed", message: "No config.json there", isUsersMistake: true },
  ]);
  assertEquals(rig.bugs, []);
});

Deno.test("EngineSession ends with a lost device, which is nobody's bug", async () => {
  const rig = new SessionRig(startBroken(new DeviceLostError("The GPU is gone")));
  await rig.start();
  rig.session.receive({ type: "submit", request: requestOf("a", 1) });
  await rig.failed;
  assertEquals(rig.outbox.messages.at(-1), {
    type: "failed",
    message: "The GPU is gone",
    isUsersMistake: false,
  });
  assertEquals(rig.bugs, []);
});

Deno.test("EngineSession says when it ends for want of memory, of the device or its own", async () => {
  const errors = [
    new OutOfMemoryError("The GPU device has no memory left"),
    new DeviceLostError("GPU device lost (unknown): Out of memory"),
    new RangeError("Array buffer allocation failed"),
  ];
  for (const error of errors) {
    const rig = new SessionRig(startBroken(error));
    await rig.start();
    rig.session.receive({ type: "submit", request: requestOf("a", 1) });
    await rig.failed;
    const { message } = error;
    const last = { type: "failed", message, isUsersMistake: false, isOutOfMemory: true } as const;
    assertEquals([rig.outbox.messages.at(-1), rig.bugs], [last, []]);
  }
});

Deno.test("EngineSession reports an unforeseen error with its stack, and ends", async () => {
  const bug = new TypeError("x is undefined");
  const rig = new SessionRig(startBroken(bug));
  await rig.start();
  rig.session.receive({ type: "submit", request: requestOf("a", 1) });
  await rig.failed;
  assertEquals(rig.bugs, [bug]);
  assertEquals(rig.outbox.types, ["ready", "accepted", "failed"]);
});

Deno.test("EngineSession says and does nothing after its last words", async () => {
  const started = Promise.withResolvers<void>();
  const device = Promise.withResolvers<void>();
  let numRuns = 0;
  const paged = new PagedFakeRunner(FAKE_INFO);
  const runner: Runner = {
    async run(batch) {
      numRuns++;
      started.resolve();
      await device.promise;
      return paged.run(batch);
    },
  };
  const rig = new SessionRig(() =>
    Promise.resolve({ runner, info: FAKE_INFO, modelFingerprint: "fake" })
  );
  await rig.start();
  rig.session.receive({ type: "submit", request: requestOf("a", 1, { maxTokens: 50 }) });
  await started.promise;
  await rig.end();
  device.resolve();
  rig.session.receive({ type: "submit", request: requestOf("b", 1) });
  const eventLoop = new EventLoopPing();
  for (let turn = 0; turn < 5; turn++) await eventLoop.ping();
  eventLoop.close();
  assertEquals(rig.outbox.types, ["ready", "accepted", "failed"]);
  assertEquals(numRuns, 1);
});

Deno.test("EngineSession ends when it is asked to work before it is ready", () => {
  const rig = new SessionRig(startFake);
  rig.session.receive({ type: "submit", request: requestOf("a", 1) });
  assertEquals(rig.outbox.types, ["failed"]);
  assertEquals(rig.bugs.length, 1);
});

/** A fake whose steps wait for `device`, and that notes its release among `said`. */
function startHeld(outbox: () => Outbox, device: Promise<void>, started: () => void): StartRunner {
  const paged = new PagedFakeRunner(FAKE_INFO);
  return () =>
    Promise.resolve({
      info: FAKE_INFO,
      modelFingerprint: "fake",
      runner: {
        async run(batch) {
          started();
          await device;
          return paged.run(batch);
        },
        destroy: () => outbox().post({ type: "progress", phase: "released" }),
      },
    });
}

function untilStopped({ outbox }: SessionRig): Promise<void> {
  return outbox.until(() => outbox.types.includes("stopped"));
}

Deno.test("EngineSession stops after the step in flight, releases its device, and then says so", async () => {
  const started = Promise.withResolvers<void>();
  const device = Promise.withResolvers<void>();
  const rig: SessionRig = new SessionRig(
    startHeld(() => rig.outbox, device.promise, started.resolve),
  );
  await rig.start();
  rig.session.receive({ type: "submit", request: requestOf("a", 1, { maxTokens: 50 }) });
  await started.promise;
  rig.session.receive({ type: "stop" });
  assertEquals(rig.outbox.types, ["ready", "accepted"]);
  device.resolve();
  await untilStopped(rig);
  const { types } = rig.outbox;
  assertEquals(types, ["ready", "accepted", "events", "progress", "stopped"]);
  rig.session.receive({ type: "stop" });
  assertEquals([rig.outbox.types.length, rig.bugs], [types.length, []]);
});

Deno.test("EngineSession stops while idle, and as soon as it has started", async () => {
  const idle: SessionRig = new SessionRig(
    startHeld(() => idle.outbox, Promise.resolve(), () => {}),
  );
  await idle.start();
  idle.session.receive({ type: "stop" });
  await untilStopped(idle);
  assertEquals(idle.outbox.types, ["ready", "progress", "stopped"]);

  const loaded = Promise.withResolvers<void>();
  const starting: SessionRig = new SessionRig(async (...given) => {
    await loaded.promise;
    return await startHeld(() => starting.outbox, Promise.resolve(), () => {})(...given);
  });
  starting.session.receive({ type: "start", config: CONFIG });
  starting.session.receive({ type: "stop" });
  assertEquals(starting.outbox.types, []);
  loaded.resolve();
  await untilStopped(starting);
  assertEquals(starting.outbox.types, ["progress", "stopped"]);
});

Deno.test("EngineSession answers a ping with its engine's pulse, and not before there is one", async () => {
  const rig = new SessionRig(startFake);
  rig.session.receive({ type: "ping" });
  await rig.start();
  rig.session.receive({ type: "ping" });
  assertEquals(rig.outbox.messages.slice(1).map(({ type }) => type), ["ready", "pong"]);
  await rig.end();
});

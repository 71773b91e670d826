import { assert, assertEquals } from "@std/assert";
import { NumberedLog } from "../../src/base/numbered_log.ts";
import type { EngineInfo } from "../../src/core/engine_config.ts";
import { longScope } from "../../src/core/long_context.ts";
import type { EngineStats } from "../../src/core/engine_stats.ts";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import type { EnginePort, EngineState } from "../../src/core/engine_port.ts";
import type { Generation, GenerationRequest } from "../../src/core/generation.ts";
import type { LoggedDecision } from "../../src/core/kv_decision.ts";
import type { KvEvent } from "../../src/core/kv_event.ts";
import type { FinishReason, TokenEvent } from "../../src/core/token_event.ts";
import type { HotPath } from "../../src/prefix_store/hot_paths.ts";
import { Reheat } from "../../src/prefix_store/reheat.ts";
import { FAKE_INFO, statsAfter } from "../support/fake_worker.ts";
import { logLines } from "../support/log_lines.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { stored } from "./prefix_events.ts";

/** A request at the fake engine, which ends when the test says so or when it is aborted. */
class Run {
  readonly request: GenerationRequest;
  hasEnded = false;
  readonly #end = Promise.withResolvers<FinishReason>();

  constructor(request: GenerationRequest) {
    this.request = request;
  }

  get tokens(): number[] {
    return [...this.request.sequences[0]!.prompt];
  }

  end(finishReason: FinishReason): void {
    this.hasEnded = true;
    this.#end.resolve(finishReason);
  }

  toGeneration(): Generation {
    const { id: requestId } = this.request;
    const ended = this.#end.promise;
    async function* events(): AsyncGenerator<readonly TokenEvent[]> {
      yield [{ requestId, index: 0, finishReason: await ended }];
    }
    return { events: events(), abort: () => this.end("abort") };
  }
}

class FakeEngine implements EnginePort {
  readonly decisions = new NumberedLog<LoggedDecision>(1);
  readonly stall = undefined;
  readonly numStalls = 0;
  command(): Promise<never> {
    return Promise.reject(new Error("a reheat gives no commands"));
  }
  state: EngineState = "ready";
  readonly info: EngineInfo = FAKE_INFO;
  readonly stats: EngineStats = statsAfter(0);
  readonly failure: string | undefined;
  readonly numRestarts = 0;
  readonly outage = undefined;
  readonly notice = undefined;
  readonly kvEvents = new NumberedLog<KvEvent>(100);
  readonly runs: Run[] = [];
  /** Requests of others. */
  numOthers = 0;
  refusals: Error[] = [];
  /** Holds the answer to a submission back. */
  gate: Promise<void> = Promise.resolve();

  get numInFlight(): number {
    return this.numOthers + this.runs.filter(({ hasEnded }) => !hasEnded).length;
  }

  get run(): Run {
    return this.runs.at(-1)!;
  }

  async submit(request: GenerationRequest): Promise<Generation> {
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw refusal;
    const run = new Run(request);
    this.runs.push(run);
    await this.gate;
    return run.toGeneration();
  }
}

function pathOf(
  tokens: readonly number[],
  scope = "",
  numOwnTokens: number = tokens.length,
): HotPath {
  return {
    key: `${scope}:${tokens}`,
    scope,
    numTokens: tokens.length,
    numOwnTokens,
    savedTokens: 0,
    toTokens: () => Uint32Array.from(tokens),
  };
}

class ReheatRig {
  readonly engine = new FakeEngine();
  readonly clock = new ManualClock();
  readonly lines: Record<string, unknown>[];
  readonly reheat: Reheat;
  maxTokens = Infinity;

  constructor() {
    const { log, lines } = logLines();
    this.lines = lines;
    const maxTokens = () => this.maxTokens;
    this.reheat = new Reheat({ engine: this.engine, log, clock: this.clock, maxTokens });
  }

  /** Lets everything that waits go on, then moves time and does so again. */
  async advance(ms = 0): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.clock.advance(ms);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  async end(reason: FinishReason = "length"): Promise<void> {
    this.engine.run.end(reason);
    await this.advance();
  }

  /** Someone else's request arrives. */
  arrive(): void {
    this.reheat.giveWayTo("a request");
    this.engine.numOthers++;
  }

  get left(): [number, number, number, number] {
    const { numPrefixesDone, numPrefixesLeft, numTokensDone, numTokensLeft } = this.reheat.progress;
    return [numPrefixesDone, numPrefixesLeft, numTokensDone, numTokensLeft];
  }
}

Deno.test("Reheat computes prefixes one at a time, in order, each in its scope", async () => {
  const rig = new ReheatRig();
  const done = rig.reheat.start([pathOf([1, 2, 3, 4]), pathOf([5, 6], "s")]);
  await rig.advance();
  assertEquals(rig.engine.runs.map(({ tokens }) => tokens), [[1, 2, 3, 4]]);
  const { sequences, cacheScope } = rig.engine.run.request;
  assertEquals([sequences.length, sequences[0]!.params.maxTokens, cacheScope], [1, 1, undefined]);
  assertEquals(rig.engine.run.request.isReheat, true);
  assertEquals(
    rig.engine.run.request.owner,
    "reheat",
    "no request of others finds its queue full",
  );
  assertEquals(rig.left, [0, 2, 0, 6]);
  await rig.end();
  assertEquals(rig.left, [1, 1, 4, 2]);
  assertEquals([rig.engine.run.tokens, rig.engine.run.request.cacheScope], [[5, 6], "s"]);
  await rig.end("stop");
  await done;
  assertEquals(rig.left, [2, 0, 6, 0]);
  assertEquals(new Set(rig.engine.runs.map(({ request }) => request.id)).size, 2);
  assertEquals(rig.lines.map(({ message }) => message), [
    "reheat of the prefix cache starts",
    "reheat of the prefix cache is done",
  ]);
});

Deno.test("Reheat leaves the coldest out when the pool has become too small for them", async () => {
  const rig = new ReheatRig();
  const done = rig.reheat.start([
    pathOf([1, 2, 3, 4]),
    pathOf([1, 2, 3, 5], "", 1),
    pathOf([6, 7]),
    pathOf([8]),
  ]);
  await rig.advance();
  rig.maxTokens = 5;
  await rig.end();
  // The second shares three of its tokens with the first.
  assertEquals(rig.engine.run.tokens, [1, 2, 3, 5]);
  await rig.end();
  await done;
  assertEquals([rig.engine.runs.length, rig.left], [2, [2, 0, 8, 0]]);
});

Deno.test("Reheat starts anew for another engine, without what it had to leave out", async () => {
  const rig = new ReheatRig();
  const first = rig.reheat.start([pathOf([1, 2]), pathOf([3, 4])]);
  await rig.advance();
  const paths = [pathOf([1, 2]), pathOf([3, 4]), pathOf([1, 2], "s")];
  rig.engine.run.end("error");
  await rig.advance(1000);
  const second = rig.reheat.start(paths);
  await rig.end();
  await first;
  await rig.end();
  await rig.end();
  await second;
  const computed = rig.engine.runs.map(({ request, tokens }) => [request.cacheScope ?? "", tokens]);
  assertEquals(computed, [["", [1, 2]], ["", [3, 4]], ["", [3, 4]], ["s", [1, 2]]]);
  assertEquals(rig.left, [3, 0, 6, 0]);
});

Deno.test("Reheat waits until the engine is ready and has nothing in flight", async () => {
  const rig = new ReheatRig();
  rig.engine.numOthers = 1;
  rig.reheat.start([pathOf([1, 2])]);
  await rig.advance(1000);
  assertEquals(rig.engine.runs, []);
  rig.engine.numOthers = 0;
  rig.engine.state = "restarting";
  await rig.advance(1000);
  assertEquals(rig.engine.runs, []);
  rig.engine.state = "ready";
  await rig.advance(1000);
  assertEquals(rig.engine.runs.length, 1);
  await rig.reheat.stop();
});

Deno.test("Reheat gives way to a request that comes just before it begins", async () => {
  const rig = new ReheatRig();
  rig.reheat.start([pathOf([1, 2])]);
  rig.arrive();
  await rig.advance(1000);
  assertEquals(rig.engine.runs, []);
  await rig.reheat.stop();
});

Deno.test("Reheat gives way to a request at once, and tries again after a silence", async () => {
  const rig = new ReheatRig();
  rig.reheat.start([pathOf([1, 2]), pathOf([3, 4])]);
  await rig.advance();
  rig.reheat.giveWayTo(rig.engine.run.request.id);
  assert(!rig.engine.run.hasEnded, "it gives way to itself");
  rig.arrive();
  assert(rig.engine.run.hasEnded, "it does not give way");
  await rig.advance(5000);
  assertEquals([rig.engine.runs.length, rig.left], [1, [0, 2, 0, 4]]);
  rig.engine.numOthers = 0;
  rig.reheat.giveWayTo("another, short one");
  for (let i = 0; i < 4; i++) await rig.advance(100);
  assertEquals(rig.engine.runs.length, 1);
  await rig.advance(100);
  assertEquals(rig.engine.runs.map(({ tokens }) => tokens), [[1, 2], [1, 2]]);
  await rig.end();
  assertEquals(rig.engine.run.tokens, [3, 4]);
  await rig.reheat.stop();
});

Deno.test("Reheat gives way also while the engine has not answered its submission", async () => {
  const rig = new ReheatRig();
  const gate = Promise.withResolvers<void>();
  rig.engine.gate = gate.promise;
  rig.reheat.start([pathOf([1, 2])]);
  await rig.advance();
  assertEquals(rig.engine.runs.length, 1);
  rig.arrive();
  assert(!rig.engine.run.hasEnded);
  gate.resolve();
  await rig.advance();
  assert(rig.engine.run.hasEnded, "it does not give way");
  await rig.reheat.stop();
});

Deno.test("Reheat.stop() ends an attempt, or the wait for one, and leaves the rest", async () => {
  const running = new ReheatRig();
  const done = running.reheat.start([pathOf([1, 2]), pathOf([3, 4])]);
  await running.advance();
  await running.reheat.stop();
  await done;
  assertEquals([running.engine.runs.length, running.engine.run.hasEnded], [1, true]);
  assertEquals(running.left, [0, 2, 0, 4]);

  const waiting = new ReheatRig();
  waiting.engine.numOthers = 1;
  waiting.reheat.start([pathOf([1, 2])]);
  await waiting.advance();
  await waiting.reheat.stop();
  assertEquals([waiting.engine.runs, waiting.clock.pendingMs], [[], []]);
});

Deno.test("Reheat leaves out what the engine refuses or fails on, and goes on", async () => {
  const rig = new ReheatRig();
  rig.engine.refusals = [
    new RequestError("too long"),
    new RequestError("queue full", { status: 429 }),
    new EngineUnavailableError("restarting"),
  ];
  const vocabSize = FAKE_INFO.vocabSize;
  const done = rig.reheat.start([pathOf([1]), pathOf([vocabSize]), pathOf([2]), pathOf([3])]);
  await rig.advance(200);
  assertEquals(rig.engine.runs.map(({ tokens }) => tokens), [[2]]);
  await rig.end("error");
  assertEquals(rig.engine.run.tokens, [3]);
  await rig.end();
  await done;
  assertEquals(rig.left, [1, 0, 1, 0]);
  assertEquals(rig.lines.flatMap(({ level, reason }) => level === "warn" ? [reason] : []), [
    "too long",
    `token ${vocabSize} of a vocabulary of ${vocabSize}`,
    "the engine failed while it computed it",
  ]);
});

Deno.test("Reheat leaves out prefixes of long contexts where all sequences are short", async () => {
  const rig = new ReheatRig();
  const done = rig.reheat.start([pathOf([1], longScope("a")), pathOf([2], "a")]);
  await rig.advance();
  assertEquals(rig.engine.runs.map(({ tokens }) => tokens), [[2]]);
  await rig.end();
  await done;
  assertEquals(rig.left, [1, 0, 1, 0]);
  assertEquals(rig.lines.flatMap(({ level, reason }) => level === "warn" ? [reason] : []), [
    "its KV is that of sequences longer than --max-model-len",
  ]);
});

Deno.test("Reheat ends with an engine that has failed for good", async () => {
  const rig = new ReheatRig();
  rig.engine.state = "failed";
  const done = rig.reheat.start([pathOf([1])]);
  await rig.advance(100);
  await done;
  assertEquals(rig.engine.runs, []);
});

Deno.test("Reheat.hasCaused() knows the KV events of its own attempts", async () => {
  const rig = new ReheatRig();
  const { kvEvents } = rig.engine;
  kvEvents.append([stored("a")]);
  const done = rig.reheat.start([pathOf([1])]);
  await rig.advance();
  kvEvents.append([stored("b"), stored("c")]);
  await rig.end();
  await done;
  kvEvents.append([stored("d")]);
  assertEquals([0, 1, 2, 3].map((seq) => rig.reheat.hasCaused(seq)), [false, true, true, false]);
});

Deno.test("Reheat says how far it is every ten seconds, and nothing where there is nothing", async () => {
  const rig = new ReheatRig();
  rig.reheat.start([1, 2, 3, 4].map((token) => pathOf([token])));
  for (const ms of [0, 9_999, 1]) {
    await rig.advance(ms);
    await rig.end();
  }
  assertEquals(
    rig.lines.slice(1).map(({ prefixes_done, prefixes_left }) => [prefixes_done, prefixes_left]),
    [[3, 1]],
  );
  await rig.reheat.stop();
  const idle = new ReheatRig();
  await idle.reheat.start([]);
  assertEquals(idle.lines, []);
});

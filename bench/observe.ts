/**
 * What metrics and request traces cost: the same steps with and without them, in alternating
 * rounds, in processor time per step, garbage collection included; beside it the processor time
 * that the whole server takes for a step of the bundled model.
 *
 *     deno run -A bench/observe.ts [--device cpu|webgpu] [--rounds 15] [--quick]
 *
 * Answers of 64 tokens to prompts of 128 come and go, so that a step has as many first tokens and
 * ends as in service. With them: the decisions of scheduler and cache, as the engine's isolate
 * keeps them and as copied between isolates; request traces, histograms and counters of each token
 * in the other. Reads the server's processor time from `/proc`: elsewhere than on Linux it measures
 * the cost alone.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import process from "node:process";
import { parseArgs } from "node:util";
import { NumberedLog } from "../src/base/numbered_log.ts";
import type { GenerationRequest } from "../src/core/generation.ts";
import type { KvDecision, LoggedDecision } from "../src/core/kv_decision.ts";
import type { TokenEvent } from "../src/core/token_event.ts";
import { EngineWork } from "../src/engine/engine_work.ts";
import { KvRecorder } from "../src/engine/kv_recorder.ts";
import { GenerationMeter } from "../src/http/metrics/generation_meter.ts";
import { ServingMetrics } from "../src/http/metrics/serving_metrics.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { FakeEngine } from "../tests/http/fake_engine.ts";
import { ServerProcess } from "../tests/support/server_process.ts";
import { currentCommit, GREEDY } from "./demo.ts";
import { cpuSeconds } from "./process_cpu.ts";
import { complete, numStepsOf } from "./served_steps.ts";
import { median } from "./median.ts";

const PROMPT = 128;
const ANSWER = 64;
const COUNTS = [8, 64, 256];
/** Of these the server's own steps are measured: as many requests at a time. */
const SERVED_COUNTS = [8, 64];

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cpu" },
    rounds: { type: "string", default: "15" },
    quick: { type: "boolean", default: false },
  },
});
const numRounds = values.quick ? 1 : Number(values.rounds);

/** Steps of a load before it is measured: as answers come and go from then on. */
const NUM_FIRST_STEPS = values.quick ? ANSWER : 3 * ANSWER;

/** An engine without a device, whose `count` answers are followed by others as they end. */
class Load {
  readonly #scheduler: Scheduler;
  readonly #observer: Observer | undefined;
  #numRequests = 0;

  constructor(count: number, isObserved: boolean) {
    const observer = isObserved ? new Observer(() => this.#scheduler.numSteps) : undefined;
    const onDecision = observer && ((decision: KvDecision) => observer.decide(decision));
    const options = onDecision === undefined ? {} : { onDecision };
    const prefixCache = {
      policy: "lru",
      keySpace: { secret: new Uint8Array(32), modelFingerprint: "bench", layout: "bench" },
    } as const;
    const blocks = new BlockManager({
      ...{ numBlocks: 16 * count, blockSize: 16, prefixCache },
      ...options,
    });
    this.#scheduler = new Scheduler(blocks, {
      ...options,
      maxModelLen: 1024,
      maxNumSeqs: count,
      maxNumBatchedTokens: count + 512,
      maxNumQueuedSeqs: 2 * count,
    });
    this.#observer = observer;
    // Two of them always wait, so that there are waits to tell of.
    for (let i = 0; i < count + 2; i++) this.#add();
    for (let i = 0; i < NUM_FIRST_STEPS; i++) this.step();
  }

  step(): void {
    const batch = this.#scheduler.schedule(performance.now())!;
    this.#observer?.plan(batch);
    const drawn = batch.chunks.filter(({ draw }) => draw !== undefined);
    const outputs = [{ type: "token", token: batch.step % 1000 } as const];
    const results = drawn.map(({ sequenceId }) => ({ sequenceId, outputs }));
    const events = this.#scheduler.commit(batch, results);
    this.#observer?.take(events, batch.numTokens);
    for (const { finishReason } of events) if (finishReason !== undefined) this.#add();
  }

  #add(): void {
    const number = this.#numRequests++;
    const prompt = new Uint32Array(PROMPT).fill(number);
    // They do not all end in the same step.
    const maxTokens = ANSWER / 2 + number * 7 % ANSWER;
    const request = {
      id: `chatcmpl-${number}`,
      sequences: [{ prompt, params: { ...GREEDY, maxTokens } }],
    };
    this.#scheduler.add(request, performance.now());
    this.#observer?.submit(request);
  }
}

/** What both isolates do with a step for metrics and traces. */
class Observer {
  readonly #engine = new FakeEngine();
  readonly #log: NumberedLog<LoggedDecision>;
  readonly #metrics: ServingMetrics;
  readonly #recorder = new KvRecorder(() => Date.now());
  readonly #work = new EngineWork();
  readonly #meters = new Map<string, GenerationMeter>();
  readonly #step: () => number;

  constructor(step: () => number) {
    this.#step = step;
    this.#log = new NumberedLog(65_536);
    Object.assign(this.#engine, { decisions: this.#log });
    this.#metrics = new ServingMetrics(this.#engine, "bench");
  }

  decide(decision: KvDecision): void {
    this.#recorder.decided(decision, this.#step());
  }

  plan(batch: Parameters<KvRecorder["planned"]>[0]): void {
    this.#recorder.planned(batch);
    this.#work.run(batch);
  }

  submit(request: GenerationRequest): void {
    const meter = new GenerationMeter(this.#metrics, () => performance.now());
    meter.accepted(request, { operation: "chat", model: "bench" });
    this.#meters.set(request.id, meter);
  }

  take(events: readonly TokenEvent[], numTokens: number): void {
    const { decisions = [] } = this.#recorder.drain() ?? {};
    this.#log.append(structuredClone(decisions));
    this.#metrics.observeStep(numTokens);
    for (const event of events) {
      const { requestId, index, finishReason } = event;
      const meter = this.#meters.get(requestId)!;
      meter.observeEvent(event);
      if (finishReason === undefined) continue;
      meter.observeEnd({ index, numTokens: ANSWER, numPromptTokens: PROMPT }, finishReason);
      meter.observePrompt({ numSamples: 1, numTokens: ANSWER });
      this.#meters.delete(requestId);
    }
  }
}

/** Microseconds of processor time per step without and with, and the median of their difference. */
function compare(count: number) {
  const loads = [new Load(count, false), new Load(count, true)] as const;
  const numSteps = Math.ceil((values.quick ? 1024 : 65_536) / count);
  const spent: [number[], number[]] = [[], []];
  for (let round = 0; round < numRounds; round++) {
    // The pair's order alternates, so that a drift of the machine favours neither.
    for (const i of round % 2 === 0 ? [0, 1] as const : [1, 0] as const) {
      const before = process.cpuUsage();
      for (let step = 0; step < numSteps; step++) loads[i].step();
      const { user, system } = process.cpuUsage(before);
      spent[i].push((user + system) / numSteps);
    }
  }
  const costs = spent[1].map((us, round) => us - spent[0][round]!);
  return { plainUs: median(spent[0]), observedUs: median(spent[1]), costUs: median(costs) };
}

async function generate(server: ServerProcess, count: number, round: number): Promise<void> {
  const maxTokens = values.quick ? 2 : ANSWER;
  await complete(server, { count, round, fields: { max_tokens: maxTokens } });
}

/** Microseconds of processor time of the whole server per step, by requests at a time. */
async function servedSteps(): Promise<Record<number, number>> {
  const server = await ServerProcess.start(["--device", values.device, "--log-level", "error"]);
  const spent: Record<number, number> = {};
  for (const count of SERVED_COUNTS) {
    await generate(server, count, -1);
    const rounds: number[] = [];
    for (let round = 0; round < (values.quick ? 1 : 3); round++) {
      const [before, stepsBefore] = [cpuSeconds(server.pid)!, await numStepsOf(server)];
      await generate(server, count, round);
      const numSteps = await numStepsOf(server) - stepsBefore;
      rounds.push(1e6 * (cpuSeconds(server.pid)! - before) / numSteps);
    }
    spent[count] = median(rounds);
  }
  await server.stop();
  return spent;
}

const served = Deno.build.os === "linux" ? await servedSteps() : {};
const rows = COUNTS.map((count) => {
  const { plainUs, observedUs, costUs } = compare(count);
  const stepUs = served[count];
  return {
    running: count,
    "scheduler and cache, us": Math.round(plainUs),
    "with metrics and traces, us": Math.round(observedUs),
    "cost, us": Number(costUs.toFixed(1)),
    "cost, ns per token": Math.round(1000 * costUs / count),
    ...(stepUs === undefined ? {} : {
      "server's step, us": Math.round(stepUs),
      "share of it": Number((costUs / stepUs).toFixed(5)),
    }),
  };
});
console.log(`processor time per step, device of the server: ${values.device}`);
console.table(rows);
console.log(JSON.stringify({ bench: "observe", commit: await currentCommit(), rows }));

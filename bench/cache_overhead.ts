/**
 * What the prefix cache, its records and the curve that watches it cost when nothing hits: the same
 * unrelated prompts with all of them and with none, in alternating rounds on the device found.
 *
 * The cost is processor time of all threads while the host adds, schedules and commits, garbage
 * collection included, so other processes do not count; it is told as a share of a step, whose time
 * is the processor's too where the processor computes the model, and the clock's beside a GPU.
 * Medians over pairs of rounds, with their quartiles. The last line is the same as JSON.
 * `--quick` runs one pair.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import process from "node:process";
import { parseArgs } from "node:util";
import type { EngineInfo } from "../src/core/engine_config.ts";
import type { KvDecision } from "../src/core/kv_decision.ts";
import { KvRecorder } from "../src/engine/kv_recorder.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { PrefixCurve } from "../src/kvcache/prefix/prefix_curve.ts";
import type { ModelRunner } from "../src/runner/model_runner.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { demoConfig, GREEDY } from "./demo.ts";

/** How much is measured. */
interface Effort {
  /** Prompts of a round, and tokens of each and of its answer. */
  readonly batch: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Pairs of rounds in which the compiler makes up its mind, and those after them that count. */
  readonly warmUpRounds: number;
  readonly rounds: number;
}

const FULL: Effort = {
  batch: 16,
  promptTokens: 160,
  outputTokens: 32,
  warmUpRounds: 4,
  rounds: 14,
};
const QUICK: Effort = {
  batch: 4,
  promptTokens: 40,
  outputTokens: 4,
  warmUpRounds: 0,
  rounds: 1,
};

const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "bench", layout: "bench" };

/** What one round of a mode took, ms per step. */
interface RoundTimes {
  /** Processor time of the host's own work. */
  readonly hostMs: number;
  /** The whole step by the clock, and in processor time. */
  readonly clockMs: number;
  readonly processorMs: number;
}

interface Mode {
  readonly scheduler: Scheduler;
  readonly recorder: KvRecorder | undefined;
  readonly rounds: RoundTimes[];
}

/** Processor time that this process has taken, all threads together, ms. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Serves one batch of prompts that no earlier one begins like. */
async function serve(
  { scheduler, recorder }: Mode,
  runner: ModelRunner,
  effort: Effort,
  round: number,
): Promise<RoundTimes> {
  let hostMs = 0;
  let numSteps = 0;
  const onHost = <T>(work: () => T): T => {
    const began = processorMs();
    const result = work();
    hostMs += processorMs() - began;
    return result;
  };
  const began = { clockMs: performance.now(), processorMs: processorMs() };
  const prompts = promptsOf(effort, round);
  onHost(() => {
    for (const [i, prompt] of prompts.entries()) {
      const params = { ...GREEDY, maxTokens: effort.outputTokens };
      scheduler.add({ id: `${round}-${i}`, sequences: [{ prompt, params }] });
    }
  });
  while (scheduler.hasWork) {
    const batch = onHost(() => scheduler.schedule()!);
    const sampled = await runner.run(batch);
    onHost(() => {
      scheduler.commit(batch, sampled);
      recorder?.drain();
    });
    numSteps++;
  }
  return {
    hostMs: hostMs / numSteps,
    clockMs: (performance.now() - began.clockMs) / numSteps,
    processorMs: (processorMs() - began.processorMs) / numSteps,
  };
}

/** Prompts whose first tokens say the round and their place in it. */
function promptsOf({ batch, promptTokens }: Effort, round: number): Uint32Array[] {
  return Array.from({ length: batch }, (_, i) => {
    const first = round * batch + i;
    const token = (_: unknown, j: number) => 3 + (first * 37 + j * (1 + first % 11)) % 2000;
    const prompt = Uint32Array.from({ length: promptTokens }, token);
    prompt[0] = 3 + first % 2000;
    return prompt;
  });
}

/** The quartiles of `values`; the second is the median. */
function quartiles(values: readonly number[]): [number, number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  return [at(0.25), at(0.5), at(0.75)];
}

/** As the engine builds it: with the cache also its records and the curve, or with none of them. */
function schedulerOf(info: EngineInfo, recorder: KvRecorder | undefined): Scheduler {
  const { numBlocks, blockSize } = info;
  const limits = { ...info, maxNumQueuedSeqs: 1000 };
  if (recorder === undefined) return new Scheduler(new BlockManager(info), limits);
  const onDecision = (decision: KvDecision) => recorder.decided(decision, 0);
  const prefixCache = { keySpace: KEY_SPACE, listener: recorder };
  const curve = new PrefixCurve(blockSize, () => numBlocks);
  return new Scheduler(new BlockManager({ numBlocks, blockSize, onDecision, prefixCache }), {
    ...limits,
    onDecision,
    onPrompt: (scope, tokens) => curve.lookUp(scope, tokens),
    onEnd: (scope, tokens) => curve.store(scope, tokens),
  });
}

/**
 * Runs both modes in turn; each goes first every other time, so that no drift counts for one of
 * them.
 */
async function measure(
  modes: readonly Mode[],
  runner: ModelRunner,
  effort: Effort,
): Promise<void> {
  const { warmUpRounds, rounds } = effort;
  for (let round = 0; round < warmUpRounds + rounds; round++) {
    for (const mode of round % 2 === 0 ? modes : modes.toReversed()) {
      const times = await serve(mode, runner, effort, round);
      if (round >= warmUpRounds) mode.rounds.push(times);
    }
  }
}

/** Medians of one mode. */
function summaryOf({ rounds }: Mode, isHostDevice: boolean) {
  const [, stepMs] = quartiles(rounds.map((r) => isHostDevice ? r.processorMs : r.clockMs));
  const [, hostMs] = quartiles(rounds.map((r) => r.hostMs));
  return { stepMs, hostMs };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      device: { type: "string", default: "auto" },
      quick: { type: "boolean" },
    },
  });
  const { runner, info } = await startRunner(demoConfig(values.device), () => {});
  const modes = [undefined, new KvRecorder()].map((recorder): Mode => ({
    recorder,
    scheduler: schedulerOf(info, recorder),
    rounds: [],
  }));
  const effort = values.quick ? QUICK : FULL;
  await measure(modes, runner, effort);
  const isHostDevice = !info.device.includes("WebGPU") || info.device.includes("software");
  const [off, on] = modes.map((mode) => summaryOf(mode, isHostDevice));
  const { numHitTokens, numQueriedTokens } = modes[1]!.scheduler.stats;
  const costs = modes[1]!.rounds.map(({ hostMs }, i) => hostMs - modes[0]!.rounds[i]!.hostMs);
  const [low, share, high] = quartiles(costs).map((cost) => cost / off!.stepMs);
  const percent = (value: number) => (100 * value).toFixed(2);
  console.log(`Device  ${info.device}`);
  console.log(`Hits    ${numHitTokens} of ${numQueriedTokens} prompt tokens\n`);
  console.log(`cache   step ms   host ms, ${isHostDevice ? "both" : "host"} in processor time`);
  console.log(`off   ${off!.stepMs.toFixed(3).padStart(9)}${off!.hostMs.toFixed(3).padStart(10)}`);
  console.log(`on    ${on!.stepMs.toFixed(3).padStart(9)}${on!.hostMs.toFixed(3).padStart(10)}`);
  console.log(
    `\nCache, records and curve cost ${percent(share!)} % of a step at no hits ` +
      `(middle half of ${effort.rounds} pairs: ${percent(low!)} to ${percent(high!)} %)`,
  );
  const { device } = info;
  const result = { bench: "cache_overhead", device, off, on, share, low, high, numHitTokens };
  console.log(`\n${JSON.stringify(result)}`);
  Deno.exit(0);
}

if (import.meta.main) await main();

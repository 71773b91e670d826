/**
 * `deno task bench`: the bundled model on the device found, through scheduler and runner.
 *
 * Prints prefill and decode rates, the host's share of a step, and the device's measured ceilings in
 * the same run; the last line is the same as JSON. `--device cpu` measures the reference device,
 * `--write` keeps the result in `bench/results/`, `--quick` takes few steps once.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import type { EngineInfo } from "../src/core/engine_config.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { type Ceiling, measureCeiling } from "./ceiling.ts";
import { currentCommit, demoConfig, GREEDY } from "./demo.ts";
import { CAREFUL, ONCE } from "./dispatch_timing.ts";
import type { TimingOptions } from "../src/runner/call_timing.ts";
import { fileName } from "./results.ts";
import { median } from "./median.ts";

/** How much is measured. */
interface Effort {
  /** Of the device's ceilings. */
  readonly timing: TimingOptions;
  /** Runs of which the best counts, since other work on the machine only ever slows one down. */
  readonly repeats: number;
  /** Tokens of the prompt of the prefill. */
  readonly prefillTokens: number;
  /** Sequences of the decodes, the context of each before, and its steps. */
  readonly batches: readonly number[];
  readonly context: number;
  readonly numSteps: number;
}

const FULL: Effort = {
  timing: CAREFUL,
  repeats: 3,
  prefillTokens: 1024,
  batches: [1, 8, 32],
  context: 128,
  numSteps: 48,
};
const QUICK: Effort = {
  timing: ONCE,
  repeats: 1,
  prefillTokens: 64,
  batches: [1, 8],
  context: 16,
  numSteps: 3,
};

interface Measured {
  readonly tokensPerSecond: number;
  /** Medians of the best run's steps, ms. */
  readonly stepMs: number;
  readonly hostMs: number;
  /** Host work while the device was busy. */
  readonly aheadMs: number;
}

interface Workload {
  /** Equal requests, submitted together. */
  readonly batch: number;
  /** Tokens of each prompt and output. */
  readonly prompt: number;
  readonly output: number;
  /** Whether a step of so many tokens is measured. */
  readonly counts: (numTokens: number) => boolean;
}

type Runner = Awaited<ReturnType<typeof startRunner>>["runner"];

async function measure(runner: Runner, info: EngineInfo, work: Workload): Promise<Measured> {
  const scheduler = new Scheduler(new BlockManager(info), { ...info, maxNumQueuedSeqs: 1000 });
  submit(scheduler, work);
  const steps: number[] = [];
  const hosts: number[] = [];
  const aheads: number[] = [];
  let tokens = 0;
  while (scheduler.hasWork) {
    const began = performance.now();
    const { waitedMs, overlappedMs } = runner;
    const plan = scheduler.schedule()!;
    scheduler.commit(plan, await runner.run(plan));
    const ms = performance.now() - began;
    if (!work.counts(plan.numTokens)) continue;
    tokens += plan.numTokens;
    steps.push(ms);
    const aheadMs = runner.overlappedMs - overlappedMs;
    hosts.push(ms - aheadMs - (runner.waitedMs - waitedMs));
    aheads.push(aheadMs);
  }
  const total = steps.reduce((sum, ms) => sum + ms, 0);
  return {
    tokensPerSecond: tokens / total * 1000,
    stepMs: median(steps),
    hostMs: median(hosts),
    aheadMs: median(aheads),
  };
}

function submit(scheduler: Scheduler, { batch, prompt, output }: Workload): void {
  const params = { ...GREEDY, maxTokens: output };
  for (let i = 0; i < batch; i++) {
    const ids = Uint32Array.from({ length: prompt }, (_, j) => 3 + (31 * i + 7 * j) % 2000);
    scheduler.add({ id: String(i), sequences: [{ prompt: ids, params }] });
  }
}

/** The best of `repeats` runs. */
async function best(
  runner: Runner,
  info: EngineInfo,
  work: Workload,
  repeats: number,
): Promise<Measured> {
  let result = await measure(runner, info, work);
  for (let i = 1; i < repeats; i++) {
    const next = await measure(runner, info, work);
    if (next.tokensPerSecond > result.tokensPerSecond) result = next;
  }
  return result;
}

function prefill({ prefillTokens }: Effort): Workload {
  return { batch: 1, prompt: prefillTokens, output: 1, counts: () => true };
}

function decode(batch: number, { context, numSteps }: Effort): Workload {
  return {
    batch,
    prompt: context,
    output: numSteps,
    counts: (numTokens) => numTokens === batch,
  };
}

/** Tokens per second if every weight were one multiply-add per token, and read once per step. */
function bound({ fmaGflops, copyGBps }: Ceiling, info: EngineInfo, tokensPerStep: number): number {
  const compute = 2 * info.numParameters * tokensPerStep / (fmaGflops * 1e9);
  const memory = info.weightBytes / (copyGBps * 1e9);
  return tokensPerStep / Math.max(compute, memory);
}

function report(
  rows: Readonly<Record<string, Measured>>,
  ceiling: Ceiling | undefined,
  info: EngineInfo,
): void {
  console.log(`Device  ${info.device}`);
  if (ceiling !== undefined) {
    const { copyGBps, fmaGflops } = ceiling;
    console.log(`Ceiling ${copyGBps.toFixed(1)} GB/s copy, ${fmaGflops.toFixed(1)} GFLOP/s fma`);
  }
  console.log(`Model   ${(info.numParameters / 1e6).toFixed(1)} M parameters\n`);
  console.log("                 tokens/s   of bound   step ms   host ms   host share   ahead ms");
  for (const [name, { tokensPerSecond, stepMs, hostMs, aheadMs }] of Object.entries(rows)) {
    const perStep = name === "prefill" ? info.maxNumBatchedTokens : Number(name.split(" ")[1]);
    const share = ceiling === undefined
      ? "-"
      : `${(100 * tokensPerSecond / bound(ceiling, info, perStep)).toFixed(0)} %`;
    console.log([
      name.padEnd(14),
      tokensPerSecond.toFixed(0).padStart(11),
      share.padStart(11),
      stepMs.toFixed(2).padStart(10),
      hostMs.toFixed(2).padStart(10),
      `${(100 * hostMs / stepMs).toFixed(1)} %`.padStart(13),
      aheadMs.toFixed(2).padStart(11),
    ].join(""));
  }
}

async function keep(device: string, json: string): Promise<void> {
  const folder = new URL("results/", import.meta.url);
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(new URL(`demo-${fileName(device)}.json`, folder), `${json}\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      device: { type: "string", default: "auto" },
      write: { type: "boolean" },
      quick: { type: "boolean" },
    },
  });
  const effort = values.quick ? QUICK : FULL;
  const { repeats, batches } = effort;
  const engine = demoConfig(values.device);
  const probe = await openDevice(engine.device);
  const ceiling = await measureCeiling(probe, effort.timing);
  probe.destroy();
  const { runner, info } = await startRunner(engine, () => {});
  const rows: Record<string, Measured> = {
    prefill: await best(runner, info, prefill(effort), repeats),
  };
  for (const batch of batches) {
    rows[`decode ${batch}`] = await best(runner, info, decode(batch, effort), repeats);
  }
  report(rows, ceiling, info);
  const { device, numParameters } = info;
  const result = {
    bench: "demo",
    commit: await currentCommit(),
    device,
    numParameters,
    ceiling,
    rows,
  };
  if (values.write) await keep(device, JSON.stringify(result, null, 2));
  console.log(`\n${JSON.stringify(result)}`);
  Deno.exit(0);
}

if (import.meta.main) await main();

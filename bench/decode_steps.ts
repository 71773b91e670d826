/**
 * `deno task bench:decode-steps [--shape NAME] [--quick] [--write]`: what several decode steps in
 * one submission are worth, and recording them ahead.
 *
 * Requests of one length are decoded by single steps and by 2, 4 and 8 at a time, with and without
 * recording the next plan while the device works, and as the server would choose, in alternating
 * rounds: the median of each, per decode step. A device that computes nothing shows what the host
 * alone takes, in processor time. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import process from "node:process";
import type { Batch } from "../src/core/batch.ts";
import type { StepBounds } from "../src/core/step_bounds.ts";
import type { Device } from "../src/device/device.ts";
import { StepPace } from "../src/engine/step_pace.ts";
import { StepTimes } from "../src/engine/step_times.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { buildRunner } from "../src/runner/build_runner.ts";
import type { ModelRunner } from "../src/runner/model_runner.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { GREEDY } from "./demo.ts";
import { withoutAhead } from "./encode_ahead.ts";
import { rigInputs } from "./model_rig.ts";
import { NullDevice } from "./null_device.ts";
import { type OpenShape, openShape } from "./open_shape.ts";
import { benchOptions, keepResult } from "./results.ts";
import { median } from "./median.ts";

const PROMPT_TOKENS = 64;
const BATCHES = [1, 8, 32];
const FULL = { numSteps: 192, rounds: 7 };
const QUICK = { numSteps: 8, rounds: 1 };
/** Of the host alone, whose steps take so much less. */
const HOST_BATCHES = [1, 8, 32, 256];
const HOST_FULL = { numSteps: 512, rounds: 9 };

/** Where the time of a decode step went, medians of rounds, ms. */
interface DecodeTimes {
  readonly stepMs: number;
  /** Of it, the device waited for the host. */
  readonly hostMs: number;
  /** Processor time, of all threads. */
  readonly processorMs: number;
}

/** How decodes are planned: so many steps at a time, or as the server chooses. */
type Steps = number | "chosen";

interface Mode {
  readonly steps: Steps;
  readonly isAhead: boolean;
}

const MODES: readonly Mode[] = [
  ...[1, 2, 4, 8].map((steps) => ({ steps, isAhead: false })),
  ...[1, 2, 4, 8, "chosen" as const].map((steps) => ({ steps, isAhead: true })),
];

/** One runner with a scheduler before it, as an engine has them. */
class DecodeLoop {
  readonly #runner: ModelRunner;
  readonly #scheduler: Scheduler;
  readonly #times: StepTimes;
  readonly #batch: number;
  readonly #pace = new StepPace();

  private constructor(runner: ModelRunner, scheduler: Scheduler, batch: number) {
    this.#runner = runner;
    this.#scheduler = scheduler;
    this.#times = new StepTimes(runner, { now: () => performance.now() });
    this.#batch = batch;
  }

  static async create(
    device: Device,
    shape: OpenShape,
    batch: number,
    numSteps: number,
  ): Promise<DecodeLoop> {
    const context = Math.ceil((PROMPT_TOKENS + numSteps + 1) / 16) * 16;
    const step = { batch, count: 1, context };
    const limits = { maxNumBatchedTokens: batch * PROMPT_TOKENS, maxDecodeSteps: 8 };
    const inputs = rigInputs(device, shape, step, limits);
    const { config, budget } = inputs;
    const blocks = new BlockManager({
      ...{ numBlocks: budget.numBlocks, blockSize: config.blockSize },
      maxInFlightTokens: config.maxNumBatchedTokens,
    });
    const scheduler = new Scheduler(blocks, { ...config, ...budget });
    return new DecodeLoop(await buildRunner(inputs), scheduler, batch);
  }

  /** Decodes so many tokens of each request behind its first, so many at a time. */
  async run(steps: Steps, numSteps: number): Promise<DecodeTimes> {
    for (let i = 0; i < this.#batch; i++) {
      const prompt = new Uint32Array(PROMPT_TOKENS).fill(3 + i);
      const params = { ...GREEDY, maxTokens: 1 + numSteps };
      this.#scheduler.add({ id: String(i), sequences: [{ prompt, params }] });
    }
    await this.#step(1);
    const before = { ...this.#times.totals, processorMs: processorMs() };
    while (this.#scheduler.hasWork) await this.#step(steps);
    const { stepMs, hostMs } = this.#times.totals;
    return {
      stepMs: (stepMs - before.stepMs) / numSteps,
      hostMs: (hostMs - before.hostMs) / numSteps,
      processorMs: (processorMs() - before.processorMs) / numSteps,
    };
  }

  async #step(steps: Steps): Promise<void> {
    this.#times.begin();
    const bounds: StepBounds = steps === "chosen" ? this.#pace.bounds : { maxDecodeSteps: steps };
    const plan: Batch = this.#scheduler.schedule(0, bounds)!;
    this.#scheduler.commit(plan, await this.#runner.run(plan));
    this.#pace.observe(plan, this.#times.end());
  }

  /** Tokens per plan of late. */
  get chosen(): number | undefined {
    return this.#pace.bounds.maxDecodeSteps;
  }
}

/** Processor time that this process has taken, all threads together, ms. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Times all modes in turn, on one shape and batch. */
async function compare(
  device: Device,
  shape: OpenShape,
  batch: number,
  { numSteps, rounds }: typeof FULL,
  modes: readonly Mode[],
) {
  const loops = {
    plain: await DecodeLoop.create(withoutAhead(device), shape, batch, numSteps),
    ahead: await DecodeLoop.create(device, shape, batch, numSteps),
  };
  const times = modes.map((): DecodeTimes[] => []);
  for (let round = -1; round < rounds; round++) {
    const order = [...modes.entries()];
    // Each goes first in turn, so that a drift of the machine does not count for one of them.
    for (const [i, { steps, isAhead }] of round % 2 === 0 ? order : order.reverse()) {
      const time = await (isAhead ? loops.ahead : loops.plain).run(steps, numSteps);
      // The first round warms up.
      if (round >= 0) times[i]!.push(time);
    }
  }
  const { chosen } = loops.ahead;
  return modes.map((mode, i) => ({
    shape: shape.name,
    batch,
    ...mode,
    chosen,
    ...medians(times[i]!),
  }));
}

type Row = Awaited<ReturnType<typeof compare>>[number];

function medians(times: readonly DecodeTimes[]): DecodeTimes {
  const of = (field: keyof DecodeTimes) => median(times.map((time) => time[field]));
  return { stepMs: of("stepMs"), hostMs: of("hostMs"), processorMs: of("processorMs") };
}

function print(rows: readonly Row[]): void {
  const [base] = rows;
  for (const { shape, batch, steps, isAhead, chosen, stepMs, hostMs, processorMs } of rows) {
    console.log([
      shape.padEnd(14),
      String(batch).padStart(5),
      (steps === "chosen" ? `${chosen} chosen` : String(steps)).padStart(10),
      (isAhead ? "yes" : "no").padStart(7),
      (1000 * stepMs).toFixed(0).padStart(10),
      (stepMs / base!.stepMs).toFixed(3).padStart(8),
      (1000 * hostMs).toFixed(0).padStart(10),
      `${(100 * hostMs / stepMs).toFixed(1)} %`.padStart(9),
      (1000 * processorMs).toFixed(0).padStart(11),
      (processorMs / base!.processorMs).toFixed(3).padStart(8),
    ].join(""));
  }
}

async function main(): Promise<void> {
  const options = benchOptions("tiny,smollm2-135m");
  const device = await openDevice(options.device);
  const nothing = new NullDevice({ ...device.capabilities, tier: "subgroups" });
  const results: (Row & { device: string })[] = [];
  const parts = [
    { on: device, batches: BATCHES, effort: FULL, modes: MODES },
    // It records nothing, ahead or not.
    {
      on: nothing,
      batches: HOST_BATCHES,
      effort: HOST_FULL,
      modes: MODES.filter(({ isAhead }) => !isAhead),
    },
  ];
  for (const { on, batches, effort, modes } of parts) {
    console.log(`\nDevice  ${on.description}; microseconds per decode step\n`);
    console.log(
      "shape         batch     steps  ahead      step   ratio      host    share  processor   ratio",
    );
    for (const name of options.shapes) {
      const shape = await openShape(on, name);
      if ("skipped" in shape) {
        console.log(`${name.padEnd(14)}skipped: ${shape.skipped}`);
        continue;
      }
      for (const batch of options.quick ? [2] : batches) {
        const rows = await compare(on, shape, batch, options.quick ? QUICK : effort, modes);
        print(rows);
        results.push(...rows.map((row) => ({ device: on.description, ...row })));
      }
      shape.close();
    }
  }
  await keepResult({ bench: "decode-steps", device: device.description, results }, options);
  device.destroy();
  Deno.exit(0);
}

if (import.meta.main) await main();

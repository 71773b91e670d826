import type { StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { Logger } from "../base/log.ts";
import { KernelError } from "../core/errors.ts";
import type { KernelCall } from "../device/kernel.ts";
import { forwardGraph } from "./build_runner.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { timeCandidates, type TimedCalls } from "./call_timing.ts";
import { type RunnerMemory, stepLimits } from "./runner_memory.ts";
import { StepPacker } from "./step_packer.ts";
import { kvMemory, layerKvs, poolGroups } from "./kv_memory.ts";
import { subBatches } from "./sub_batches.ts";
import type { TimedOperation } from "./tunable_operations.ts";
import { tuningBatch, type TuningStep } from "./tuning_step.ts";

/** The model, memory and clock with which operations are timed. */
export interface OperationTimerOptions {
  readonly inputs: RunnerInputs;
  /**
   * Weights, KV pool and activations in which the model will run; what they hold is written over.
   */
  readonly memory: RunnerMemory;
  readonly log: Logger;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

/** One way to run an operation: a tuning, and of the inputs perhaps another block size. */
export interface TimingCandidate {
  readonly name: string;
  readonly inputs: RunnerInputs;
  readonly tuning: Tuning;
}

/**
 * Runs long enough to be told apart, and short enough for a handful of each of some fifty
 * operations.
 */
const RUN_MS = 5;
const NUM_ROUNDS = 5;

/** Times operations of a model on the memory that it runs in, with its own weights. */
export class OperationTimer {
  readonly #options: OperationTimerOptions;

  constructor(options: OperationTimerOptions) {
    this.#options = options;
  }

  /**
   * Microseconds that the operation takes in one layer, by candidate, its steps added up.
   *
   * The first candidate must compile; of the others, those that do not are left out with a line in
   * the log, and those that come to the same calls as an earlier one without.
   *
   * @throws {KernelError} when the first candidate does not compile.
   */
  async time(
    operation: TimedOperation,
    candidates: readonly TimingCandidate[],
  ): Promise<Record<string, number>> {
    const [first] = candidates;
    const numLayers = await this.#numLayers(operation, first!);
    const calls = (candidate: TimingCandidate, layers: number) =>
      operation.steps.map((step) => this.#timed(operation, candidate, step, layers));
    const numInstances = numCalls(calls(first!, numLayers)) / numCalls(calls(first!, 1));
    const names: string[] = [];
    const timed: TimedCalls<StepDims>[][] = [];
    const seen = new Set<string>();
    for (const candidate of candidates) {
      const own = calls(candidate, numLayers);
      const identity = JSON.stringify(own.map(describe));
      if (seen.has(identity) || !await this.#compiles(operation, candidate, own)) continue;
      seen.add(identity);
      names.push(candidate.name);
      timed.push(own);
    }
    const totals = names.map(() => 0);
    for (const step of operation.steps.keys()) {
      const seconds = await this.#seconds(timed.map((own) => own[step]!), RUN_MS, NUM_ROUNDS);
      seconds.forEach((value, i) => totals[i]! += value);
    }
    // To the nanosecond: what lies below is noise.
    const micros = totals.map((total) => Math.round(1e9 * total / numInstances) / 1000);
    return Object.fromEntries(names.map((name, i) => [name, micros[i]!]));
  }

  /** The number of layers that take about one run; all of them where they take less. */
  async #numLayers(operation: TimedOperation, candidate: TimingCandidate): Promise<number> {
    let seconds = 0;
    for (const step of operation.steps) {
      const [once] = await this.#seconds([this.#timed(operation, candidate, step, 1)], 0, 1);
      seconds = Math.max(seconds, once!);
    }
    const most = this.#options.inputs.model.caches.length;
    return Math.max(1, Math.min(most, Math.floor(RUN_MS / 1000 / seconds)));
  }

  /** The operation's calls in the model's first layers, ready for one of its steps. */
  #timed(
    { includes }: TimedOperation,
    { inputs, tuning }: TimingCandidate,
    step: TuningStep,
    numLayers: number,
  ): TimedCalls<StepDims> {
    const { inputs: { device }, memory: { activations, storage } } = this.#options;
    const { blockSize } = inputs.config;
    const packer = new StepPacker(stepLimits(inputs, tuning));
    const numBlocks = inputs.budget.numBlocks;
    const groups = poolGroups(kvMemory(inputs.model, inputs.config));
    // Where contexts are too long for one sub-batch, the first stands for all.
    const [batch] = subBatches(
      tuningBatch(step, { blockSize, numBlocks, ...groups }),
      packer.limits,
    );
    const { words, dims } = packer.pack(batch!);
    const kv = layerKvs(inputs.model, inputs.config, storage.buffers).slice(0, numLayers);
    const calls = forwardGraph(inputs, { activations, kv }, tuning)
      .filter((call) => includes(call) && call.workgroups(dims).every((count) => count > 0));
    return {
      calls,
      dims,
      readFrom: activations.sampled,
      prepare: () => device.write(activations.step, 0, words),
    };
  }

  async #compiles(
    { name }: TimedOperation,
    candidate: TimingCandidate,
    timed: readonly TimedCalls<StepDims>[],
  ): Promise<boolean> {
    try {
      for (const { calls } of timed) await this.#options.inputs.device.compile(calls);
      return true;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      const reason = error.message.replaceAll(/\s+/g, " ");
      const left = { operation: name, variant: candidate.name, reason };
      this.#options.log.warn("kernel variant left out", left);
      return false;
    }
  }

  #seconds(
    timed: readonly TimedCalls<StepDims>[],
    runMs: number,
    numRounds: number,
  ): Promise<number[]> {
    const { inputs: { device }, now } = this.#options;
    return timeCandidates(device, timed, { runMs, numRounds, now });
  }
}

function numCalls(timed: readonly TimedCalls<StepDims>[]): number {
  return timed.reduce((sum, { calls }) => sum + calls.length, 0);
}

/** A candidate's calls of a step as data, equal where two candidates do the same. */
function describe({ calls, dims }: TimedCalls<StepDims>): unknown {
  return calls.map(({ kernelName, constants, workgroups }: KernelCall<StepDims>) => [
    ...[kernelName, constants, workgroups(dims)],
  ]);
}

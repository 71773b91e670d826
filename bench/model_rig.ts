import type { StepDims } from "../kernels/step.ts";
import type { Model } from "../models/model.ts";
import type { Batch, ScheduledChunk } from "../src/core/batch.ts";
import type { EngineConfig } from "../src/core/engine_config.ts";
import { type KvBufferLayout, numSlabsFor, slabBytesOf } from "../src/core/kv_buffers.ts";
import type { Device } from "../src/device/device.ts";
import type { KernelCall } from "../src/device/kernel.ts";
import { buildRunner, type RunnerOptions } from "../src/runner/build_runner.ts";
import { kvMemory } from "../src/runner/kv_memory.ts";
import type { RunnerInputs } from "../src/runner/runner_inputs.ts";
import type { TimedCalls } from "../src/runner/call_timing.ts";
import type { ModelRunner } from "../src/runner/model_runner.ts";
import { demoConfig, GREEDY } from "./demo.ts";
import { fillBuffer } from "./random_weights.ts";

import { WatchedDevice } from "./watched_device.ts";

const BLOCK_SIZE = 16;
/** Decodes follow one another this often before they begin anew. */
const MAX_STEPS = 16;

/** A step of `batch` sequences, each with `count` new tokens that end its `context`. */
export interface StepShape {
  readonly batch: number;
  readonly count: number;
  /** Tokens each sequence has after the step. */
  readonly context: number;
}

/** Where the time of a step went, ms. */
export interface StepTimes {
  readonly stepMs: number;
  /** Host work that the device waited for. */
  readonly hostMs: number;
  /** Host work while the device was busy. */
  readonly aheadMs: number;
}

/** The pool of a rig, in which every sequence keeps all blocks of its context in each cache group. */
export interface RigPool {
  readonly layout: KvBufferLayout;
  readonly numSlabs: number;
}

/** The pool for a step of a model. */
export function rigPool(model: Model, step: StepShape): RigPool {
  const { layout } = kvMemory(model, { blockSize: BLOCK_SIZE, kvCacheDtype: "f16" });
  const numSlabs = numSlabsFor(layout, layout.blocksPerSlab.map(() => numBlocks(step)));
  return { layout, numSlabs };
}

/** The blocks of all sequences of a step in one cache group. */
function numBlocks({ batch, context }: StepShape): number {
  return batch * Math.ceil(context / BLOCK_SIZE);
}

/** Bytes of the pool for a step, all layers together. */
export function kvBytes(model: Model, step: StepShape): number {
  const { layout, numSlabs } = rigPool(model, step);
  return numSlabs * slabBytesOf(layout);
}

/** The parts of an open shape that a runner is made of. */
type RigModel = Pick<RunnerInputs, "model" | "weights">;

/**
 * What a runner for steps of one shape is made of; `overrides` stand in place of what the bundled model
 * is served with.
 */
export function rigInputs(
  device: Device,
  { model, weights }: RigModel,
  step: StepShape,
  overrides: Partial<EngineConfig> = {},
): RunnerInputs {
  const { numSlabs } = rigPool(model, step);
  const budget = {
    numBlocks: numSlabs,
    maxNumBlocks: numSlabs,
    maxModelLen: step.context,
    bytes: kvBytes(model, step),
  };
  const config: EngineConfig = {
    ...demoConfig("auto"),
    blockSize: BLOCK_SIZE,
    maxNumSeqs: step.batch,
    maxNumBatchedTokens: step.batch * step.count,
    ...overrides,
  };
  return { device, config, model, weights, budget };
}

/**
 * A runner made for one step shape, its KV full of random numbers: any context can be measured without
 * computing it first. Owns all buffers but the weights.
 *
 * Decodes are run as a server runs them, one token further each time, the last of sixteen at the full
 * context: a device can then use what it has made ready for the next step.
 */
export class ModelRig {
  readonly #device: WatchedDevice;
  readonly #runner: ModelRunner;
  /** In order; the last is the step that the rig was made for. */
  readonly #batches: readonly Batch[];
  #next: number;

  private constructor(device: WatchedDevice, runner: ModelRunner, batches: readonly Batch[]) {
    this.#device = device;
    this.#runner = runner;
    this.#batches = batches;
    this.#next = batches.length - 1;
  }

  /**
   * `overrides` are those of {@link rigInputs}; the tuning is the device's own unless `options` say.
   *
   * @throws {RangeError} when the device has no room; nothing is kept.
   */
  static async create(
    device: Device,
    shape: RigModel,
    step: StepShape,
    overrides: Partial<EngineConfig> = {},
    options: Pick<RunnerOptions, "tuning"> = {},
  ): Promise<ModelRig> {
    const watched = new WatchedDevice(device);
    try {
      const runner = await buildRunner(rigInputs(watched, shape, step, overrides), options);
      const { calls } = watched;
      for (const [i, buffer] of watched.buffers.entries()) {
        if (buffer.label.startsWith("kv ")) await fillBuffer(watched, buffer, i);
      }
      watched.calls = calls;
      const rig = new ModelRig(watched, runner, batchesOf(step, shape.model));
      // Compiles what drivers compile at first use, and leaves this step's metadata on the device.
      await rig.run();
      return rig;
    } catch (error) {
      watched.close();
      throw error;
    }
  }

  /**
   * Runs a step: the time it took, the part of it that the device had nothing to do, and the host work
   * done while it had, ms.
   */
  async run(): Promise<StepTimes> {
    const batch = this.#batches[this.#next]!;
    this.#next = (this.#next + 1) % this.#batches.length;
    const began = performance.now();
    const { waitedMs, overlappedMs } = this.#device;
    await this.#runner.run(batch);
    const stepMs = performance.now() - began;
    const aheadMs = this.#device.overlappedMs - overlappedMs;
    return { stepMs, hostMs: stepMs - (this.#device.waitedMs - waitedMs) - aheadMs, aheadMs };
  }

  /** The step's kernel calls that have work to do, in order. */
  get calls(): KernelCall<StepDims>[] {
    const calls = this.#device.calls as readonly KernelCall<StepDims>[];
    return calls.filter(({ workgroups }) => workgroups(this.dims).every((count) => count > 0));
  }

  /** The step's sizes. */
  get dims(): StepDims {
    return this.#device.dims as StepDims;
  }

  /** The same calls, to be timed on their own; the step's metadata lies ready. */
  timed(calls: readonly KernelCall<StepDims>[]): TimedCalls<StepDims> {
    return { calls, dims: this.dims, readFrom: this.#device.lastRead!.buffer };
  }

  /** Frees everything but the weights. */
  close(): void {
    this.#device.close();
  }
}

/** Up to the given one: its predecessors where it is a decode. */
function batchesOf(step: StepShape, model: Model): Batch[] {
  const { batch, count, context } = step;
  const { vocabSize } = model;
  const tablesOf = scatteredTables(step, rigPool(model, step));
  const chunks = Array.from({ length: batch }, (_, sequenceId): ScheduledChunk => ({
    sequenceId,
    tokens: Uint32Array.from({ length: count }, (_, i) => (31 * sequenceId + 7 * i) % vocabSize),
    start: context - count,
    blockTables: tablesOf(sequenceId),
    draw: { ...GREEDY, outputIndex: 0 },
  }));
  const numSteps = count === 1 ? Math.min(MAX_STEPS, context) : 1;
  return Array.from({ length: numSteps }, (_, i) => ({
    step: i,
    chunks: chunks.map((chunk) => ({ ...chunk, start: chunk.start - (numSteps - 1 - i) })),
    numTokens: batch * count,
  }));
}

/**
 * A sequence's table in each cache group: its blocks lie scattered over the slabs of the group, as
 * they do after some time of serving, and no two groups share a slab.
 */
function scatteredTables(
  step: StepShape,
  { layout: { blocksPerSlab } }: RigPool,
): (sequence: number) => number[][] {
  const total = numBlocks(step);
  const [perSequence, stride] = [total / step.batch, coprimeStride(total)];
  let slabs = 0;
  const firsts = blocksPerSlab.map((perSlab) => {
    const first = slabs * perSlab;
    slabs += Math.ceil(total / perSlab);
    return first;
  });
  return (sequence) =>
    firsts.map((first) =>
      Array.from(
        { length: perSequence },
        (_, i) => first + (sequence * perSequence + i) * stride % total,
      )
    );
}

/** A step through all of `total` blocks that visits each once. */
export function coprimeStride(total: number): number {
  let stride = Math.floor(total * 0.618) | 1;
  while (greatestCommonDivisor(stride, total) !== 1) stride += 2;
  return stride;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

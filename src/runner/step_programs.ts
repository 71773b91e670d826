import { nextStepCall } from "../../kernels/sampling/next_step.ts";
import type { StepDims } from "../../kernels/step.ts";
import type { GraphInputs } from "../../models/model.ts";
import { MAX_DECODE_STEPS } from "../core/batch.ts";
import type { Device, Program } from "../device/device.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import type { KvStorage } from "./kv_storage.ts";

/** What the programs of steps are compiled from. */
export interface StepProgramOptions {
  readonly device: Device;
  readonly storage: KvStorage;
  /** Where each layer's KV lies in the pool's buffers. */
  readonly layers: (kvBuffers: readonly DeviceBuffer[]) => GraphInputs["kv"];
  /** The forward pass over the KV of all layers, and the step metadata it reads. */
  readonly graph: (kv: GraphInputs["kv"], step: DeviceBuffer) => readonly KernelCall<StepDims>[];
  /** Metadata of the steps to come; replaced by a larger one when adjustments need it. */
  readonly step: DeviceBuffer;
  readonly sampled: DeviceBuffer;
}

/** What begins the further steps of a plan, over the buffers it was compiled for. */
interface FurtherPrograms {
  readonly step: DeviceBuffer;
  /** The steps' metadata. */
  readonly further: DeviceBuffer;
  readonly nextStep: readonly Program<{ readonly numWords: number }>[];
}

/** Room for the metadata of further steps that is made at first. */
const MIN_FURTHER_BYTES = 2 ** 17;

/**
 * The programs that run steps, and the buffers of step metadata that they read. Programs name their
 * buffers: where the pool's move, or metadata needs larger ones, they are compiled anew, between
 * two steps.
 */
export class StepPrograms {
  readonly #options: StepProgramOptions;
  #forward: Program<StepDims>;
  #step: DeviceBuffer;
  #further: FurtherPrograms | undefined;

  private constructor(options: StepProgramOptions, forward: Program<StepDims>) {
    this.#options = options;
    this.#forward = forward;
    this.#step = options.step;
  }

  /** @param onProgress is told the share of the forward pass's calls that are compiled. */
  static async create(
    options: StepProgramOptions,
    onProgress?: (share: number) => void,
  ): Promise<StepPrograms> {
    const { device, graph, layers, storage, step } = options;
    const forward = await device.compile(graph(layers(storage.buffers), step), onProgress);
    return new StepPrograms(options, forward);
  }

  /** The forward pass and its draws. */
  get forward(): Program<StepDims> {
    return this.#forward;
  }

  /** The step's metadata on the device. */
  get step(): DeviceBuffer {
    return this.#step;
  }

  /** Where each layer's KV lies now. */
  get kv(): GraphInputs["kv"] {
    const { layers, storage } = this.#options;
    return layers(storage.buffers);
  }

  /** Compiles the forward pass over the buffers that the pool has now. */
  async recompile(): Promise<void> {
    this.#forward = await this.#compileOver(this.#step);
  }

  /**
   * Hands the device the metadata of the next step.
   *
   * @throws {RangeError} when the device has no room for it.
   */
  async upload(words: Uint32Array): Promise<void> {
    if (words.byteLength > this.#step.bytes) await this.#growStep(words.byteLength);
    this.#options.device.write(this.#step, 0, words);
  }

  /**
   * Hands the device the metadata of further steps, and returns the programs that copy each to
   * where a step's metadata is read.
   *
   * @throws {RangeError} when the device has no room for it.
   */
  async uploadFurther(words: Uint32Array): Promise<FurtherPrograms["nextStep"]> {
    const { further, nextStep } = await this.#furtherFor(words.byteLength);
    this.#options.device.write(further, 0, words);
    return nextStep;
  }

  /** Doubles the metadata's buffer at least, so that this is done a few times at most. */
  async #growStep(bytes: number): Promise<void> {
    const { device } = this.#options;
    const old = this.#step;
    const step = await device.createBuffer(old.label, this.#roomFor(bytes, 2 * old.bytes));
    this.#forward = await this.#compileOver(step);
    this.#step = step;
    device.destroyBuffer(old);
  }

  #compileOver(step: DeviceBuffer): Promise<Program<StepDims>> {
    const { device, graph } = this.#options;
    return device.compile(graph(this.kv, step));
  }

  async #furtherFor(bytes: number): Promise<FurtherPrograms> {
    const known = this.#further;
    if (known?.step === this.#step && bytes <= known.further.bytes) return known;
    const { device, sampled } = this.#options;
    const step = this.#step;
    const room = this.#roomFor(bytes, Math.max(2 * bytes, MIN_FURTHER_BYTES));
    const further = await device.createBuffer("further", room);
    const nextStep: Program<{ readonly numWords: number }>[] = [];
    for (let index = 0; index < MAX_DECODE_STEPS - 1; index++) {
      nextStep.push(await device.compile([nextStepCall(index, { further, sampled, step })]));
    }
    if (known !== undefined) device.destroyBuffer(known.further);
    return this.#further = { step, further, nextStep };
  }

  /** The bytes that are wished for, as far as the device binds them, and those that are needed. */
  #roomFor(needed: number, wished: number): number {
    return Math.max(needed, Math.min(wished, this.#options.device.maxBindingBytes));
  }
}

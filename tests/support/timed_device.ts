import { assertEquals } from "@std/assert";
import { STEP, type StepDims } from "../../kernels/step.ts";
import { readModel } from "../../models/registry.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { quantizedDtype } from "../../src/core/weight_format.ts";
import { KernelError } from "../../src/core/errors.ts";
import type { Capabilities } from "../../src/device/capabilities.ts";
import type { Device, Program, RangeReader, ReadRequest } from "../../src/device/device.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import type { RunnerInputs } from "../../src/runner/runner_inputs.ts";
import { DEMO_DIR } from "./demo_engine.ts";
import { ManualClock } from "./manual_clock.ts";
import { wholeWeights } from "./whole_weights.ts";

type Call = KernelCall<StepDims>;

/** What a device of {@link TimedDevice} is like. */
export interface TimedDeviceOptions {
  readonly isSoftware?: boolean;
  /** Milliseconds that a call takes. */
  readonly cost?: (call: Call, dims: StepDims) => number;
  /** Whether a call compiles. */
  readonly compiles?: (call: Call) => boolean;
}

/** A "GPU" that computes nothing and takes on `clock` exactly the time that a test says. */
export class TimedDevice implements Device {
  readonly kind = "webgpu";
  readonly description = "a clock with buffers";
  readonly capabilities: Capabilities;
  readonly isSoftware: boolean;
  readonly maxBindingBytes = 2 ** 30;
  readonly waitedMs = 0;
  readonly overlappedMs = 0;
  readonly clock = new ManualClock();
  /** The calls of each run, whose metadata must be that of the step. */
  readonly runs: (readonly Call[])[] = [];
  readonly #options: TimedDeviceOptions;

  constructor(options: TimedDeviceOptions = {}) {
    const { capabilities } = new ReferenceDevice();
    this.#options = options;
    this.isSoftware = options.isSoftware ?? false;
    this.capabilities = { ...capabilities, tier: this.isSoftware ? "software" : "baseline" };
  }

  createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    return Promise.resolve(new HostBuffer(label, bytes));
  }

  createTexture(label: string, width: number, height: number): Promise<DeviceBuffer> {
    return Promise.resolve(new HostBuffer(label, 16 * width * height, true));
  }

  copyBuffer(): void {}
  destroyBuffer(): void {}
  destroy(): void {}

  write(buffer: DeviceBuffer, byteOffset: number, data: Uint8Array | Uint32Array): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    (buffer as HostBuffer).write(byteOffset, bytes);
  }

  compile<Dims>(calls: readonly KernelCall<Dims>[]): Promise<Program<Dims>> {
    const bad = (calls as readonly unknown[] as readonly Call[])
      .find((call) => this.#options.compiles?.(call) === false);
    return bad === undefined
      ? Promise.resolve({ calls })
      : Promise.reject(new KernelError(bad.kernelName, "too much\nfor this device"));
  }

  run<Dims>(program: Program<Dims>, dims: Dims, { bytes }: ReadRequest): Uint32Array {
    const calls = program.calls as readonly unknown[] as readonly Call[];
    const step = dims as unknown as StepDims;
    this.runs.push(calls);
    const metadata = calls[0]?.buffers[0] as HostBuffer | undefined;
    if (metadata?.label === "step") {
      const { numTokens, numDecodes } = STEP;
      assertEquals(metadata.u32[numTokens], step.numTokens, "metadata of another step");
      assertEquals(metadata.u32[numDecodes], step.numDecodes, "metadata of another step");
    }
    // A submission without calls takes a millisecond.
    const { cost = () => 1 } = this.#options;
    this.clock.advance(calls.reduce((sum, call) => sum + cost(call, step), 1));
    return new Uint32Array(bytes / 4);
  }

  createReader(): Promise<RangeReader> {
    return Promise.reject(new Error("nothing is read here"));
  }

  read(_: DeviceBuffer, __: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(new Uint8Array(bytes));
  }
}

/** The bundled model on such a device, its weights without contents. */
export function timedInputs(device: Device, overrides: Partial<EngineConfig> = {}): RunnerInputs {
  const config: EngineConfig = {
    modelDir: DEMO_DIR,
    device: "auto",
    blockSize: 16,
    kvCacheDtype: "f16",
    enablePrefixCaching: false,
    maxNumSeqs: 16,
    maxNumBatchedTokens: 256,
    maxNumQueuedSeqs: 10,
    ...overrides,
  };
  const model = readModel(DEMO_DIR);
  const buffer = new HostBuffer("weight", 4);
  const { quantization } = config;
  const dtype = quantization === undefined ? "f16" : quantizedDtype(quantization);
  return {
    device,
    config,
    model,
    weights: {
      weight: wholeWeights(model, { buffer, dtype }),
      bytes: 4,
      numParameters: 1,
    },
    budget: { numBlocks: 32, maxNumBlocks: 32, maxModelLen: 512, bytes: 0 },
  };
}

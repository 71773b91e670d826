import { invariant } from "../base/invariant.ts";
import { alignUp } from "../base/math.ts";
import { DeviceLostError, KernelError, OutOfMemoryError } from "../core/errors.ts";
import { CallCompiler } from "./call_compiler.ts";
import { type Capabilities, wgslPreamble } from "./capabilities.ts";
import type {
  BufferRange,
  Device,
  Program,
  RangeReader,
  ReadRequest,
  RunOptions,
} from "./device.ts";
import { allocate, gpuBuffer, GpuDeviceBuffer, GpuDeviceTexture } from "./gpu_memory.ts";
import { denoProvider, type GpuProvider } from "./gpu_provider.ts";
import type { DeviceBuffer, KernelCall } from "./kernel.ts";
import { profilePasses } from "./pass_profile.ts";
import { TEXTURE_FORMAT } from "./pipeline_cache.ts";
import { Readback } from "./readback.ts";
import { type GrantedDevice, requestDevice } from "./request_device.ts";
import { type PreparedCall, type RecordedPart, StepRecorder } from "./step_recorder.ts";

/** Largest piece of one `writeBuffer`; each call stages its bytes until the next submission. */
const UPLOAD_PIECE_BYTES = 16 * 2 ** 20;

class GpuProgram<Dims> implements Program<Dims> {
  constructor(
    readonly calls: readonly KernelCall<Dims>[],
    readonly prepared: readonly PreparedCall<Dims>[],
  ) {}
}

/**
 * Runs kernels on a WebGPU adapter.
 *
 * One run, of one program or several, is one command encoder, one compute pass, one copy, one
 * submission and one map; no buffer, bind group or pipeline is created in it. The commands of the
 * next run are recorded while the device works, where the caller says what that will be.
 */
export class WebGpuDevice implements Device {
  readonly kind = "webgpu";
  readonly description: string;
  readonly capabilities: Capabilities;
  readonly isSoftware: boolean;
  readonly maxBindingBytes: number;
  /** Never read: without a reference to its `GPU`, Dawn's devices are collected with it. */
  readonly #provider: GpuProvider;
  readonly #device: GPUDevice;
  readonly #compiler: CallCompiler;
  readonly #readback: Readback;
  /** Those of readers. */
  readonly #readers: Readback[] = [];
  readonly #recorder: StepRecorder;
  #failure: Error | undefined;
  #uploadedBytes = 0;

  private constructor(
    provider: GpuProvider,
    adapter: GPUAdapter,
    { device, capabilities }: GrantedDevice,
    readback: Readback,
  ) {
    this.#provider = provider;
    this.#device = device;
    this.#readback = readback;
    this.#recorder = new StepRecorder(device, readback);
    this.#compiler = new CallCompiler(device, wgslPreamble(capabilities));
    this.capabilities = capabilities;
    this.isSoftware = capabilities.tier === "software";
    this.description = describeAdapter(adapter.info, provider);
    const { maxStorageBufferBindingSize, maxBufferSize } = device.limits;
    this.maxBindingBytes = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    device.lost.then(({ reason, message }) => {
      this.#failure ??= new DeviceLostError(`GPU device lost (${reason}): ${message}`);
    });
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#failure ??= uncaptured((event as GPUUncapturedErrorEvent).error);
    });
  }

  /**
   * Opens an adapter, by default of Deno's own WebGPU, or returns undefined where there is none.
   */
  static async open(
    provider: GpuProvider | undefined = denoProvider(),
  ): Promise<WebGpuDevice | undefined> {
    const adapter = await provider?.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (provider === undefined || !adapter) return undefined;
    const granted = await requestDevice(adapter, provider);
    const readback = await Readback.create(granted.device, provider.readback);
    return new WebGpuDevice(provider, adapter, granted, readback);
  }

  get waitedMs(): number {
    return this.#readers.reduce((sum, each) => sum + each.waitedMs, this.#readback.waitedMs);
  }

  get overlappedMs(): number {
    return this.#readback.overlappedMs;
  }

  async createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    const size = Math.max(16, alignUp(bytes, 16));
    if (size > this.maxBindingBytes) {
      throw new RangeError(
        `${label} needs ${size} bytes, but this device binds at most ${this.maxBindingBytes}`,
      );
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const make = () => this.#device.createBuffer({ label, size, usage });
    const gpu = await allocate(this.#device, { label, bytes: size }, make);
    return new GpuDeviceBuffer(label, bytes, gpu);
  }

  async createTexture(label: string, width: number, height: number): Promise<DeviceBuffer> {
    const { maxTextureSide } = this.capabilities;
    if (Math.max(width, height) > maxTextureSide) {
      throw new RangeError(
        `${label} is ${width} by ${height} texels, but textures here have ${maxTextureSide} a side`,
      );
    }
    const usage = GPUTextureUsage.STORAGE_BINDING;
    const size = [width, height].map((side) => textureSide(side, maxTextureSide));
    const bytes = 16 * size[0]! * size[1]!;
    const make = () => this.#device.createTexture({ label, size, format: TEXTURE_FORMAT, usage });
    const gpu = await allocate(this.#device, { label, bytes }, make);
    return new GpuDeviceTexture(label, bytes, gpu);
  }

  copyBuffer(from: DeviceBuffer, to: DeviceBuffer, bytes: number): void {
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(gpuBuffer(from), 0, gpuBuffer(to), 0, alignUp(bytes, 4));
    this.#device.queue.submit([encoder.finish()]);
  }

  destroyBuffer(buffer: DeviceBuffer): void {
    this.#recorder.discard();
    if (buffer instanceof GpuDeviceTexture) buffer.gpu.destroy();
    else gpuBuffer(buffer).destroy();
  }

  write(buffer: DeviceBuffer, byteOffset: number, data: Uint8Array | Uint32Array): void {
    const { queue } = this.#device;
    const gpu = gpuBuffer(buffer);
    for (let done = 0; done < data.byteLength; done += UPLOAD_PIECE_BYTES) {
      const length = Math.min(UPLOAD_PIECE_BYTES, data.byteLength - done);
      const source = data.buffer as ArrayBuffer;
      queue.writeBuffer(gpu, byteOffset + done, source, data.byteOffset + done, length);
      // Staged copies are freed only after a submission: flush while loading weights.
      this.#uploadedBytes += length;
      if (this.#uploadedBytes >= UPLOAD_PIECE_BYTES) this.#flushUploads();
    }
  }

  async compile<Dims>(
    calls: readonly KernelCall<Dims>[],
    onProgress: (share: number) => void = () => {},
  ): Promise<Program<Dims>> {
    return new GpuProgram(calls, await this.#compiler.prepare(calls, onProgress));
  }

  run<Dims>(
    program: Program<Dims>,
    dims: Dims,
    { buffer, bytes }: ReadRequest,
    { nextDims, onSubmitted, further = [] }: RunOptions<Dims> = {},
  ): Uint32Array | Promise<Uint32Array> {
    if (this.#failure) throw this.#failure;
    const of = { source: gpuBuffer(buffer), bytes };
    const run = {
      ...of,
      ...part(program, dims),
      further: further.map((each) => part(each.program, each.dims)),
    };
    const { commands, staging } = this.#recorder.take(run);
    this.#device.queue.submit([commands]);
    this.#uploadedBytes = 0;
    const submitted = performance.now();
    onSubmitted?.();
    if (nextDims !== undefined) {
      this.#recorder.expect<Dims>({
        ...of,
        ...part<Dims>(program, nextDims),
        further: further.map((each) => part<Dims>(each.program, each.nextDims ?? each.dims)),
      });
    }
    return this.#checked(this.#readback.read(staging, bytes, submitted));
  }

  async profile<Dims>(program: Program<Dims>, dims: Dims): Promise<Float64Array<ArrayBuffer>> {
    invariant(program instanceof GpuProgram, "program of another device");
    if (this.#failure) throw this.#failure;
    const times = await profilePasses<Dims>(this.#device, program.prepared, dims);
    if (this.#failure) throw this.#failure;
    return times;
  }

  async createReader(bytes: number): Promise<RangeReader> {
    const readback = await Readback.create(this.#device, this.#provider.readback, { bytes });
    this.#readers.push(readback);
    return { bytes, read: (ranges) => this.#readRanges(readback, ranges) };
  }

  #readRanges(
    readback: Readback,
    ranges: readonly BufferRange[],
  ): Uint32Array | Promise<Uint32Array> {
    if (this.#failure) throw this.#failure;
    const size = ranges.reduce((sum, { bytes }) => sum + bytes, 0);
    const staging = readback.take(size);
    const encoder = this.#device.createCommandEncoder();
    let end = 0;
    for (const { buffer, byteOffset, bytes } of ranges) {
      encoder.copyBufferToBuffer(gpuBuffer(buffer), byteOffset, staging, end, bytes);
      end += bytes;
    }
    this.#device.queue.submit([encoder.finish()]);
    this.#uploadedBytes = 0;
    return this.#checked(readback.read(staging, size, performance.now()));
  }

  async read(
    buffer: DeviceBuffer,
    byteOffset: number,
    bytes: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const size = alignUp(bytes, 4);
    const staging = this.#device.createBuffer({
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(gpuBuffer(buffer), byteOffset, staging, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const copy = new Uint8Array(staging.getMappedRange().slice(0, bytes));
    staging.destroy();
    return copy;
  }

  destroy(): void {
    this.#device.destroy();
  }

  /** An error that surfaced during the step spoils its result. */
  #checked(words: Uint32Array | Promise<Uint32Array>): Uint32Array | Promise<Uint32Array> {
    if (words instanceof Promise) {
      return words.then((late) => this.#checked(late), (error) => this.#explain(error));
    }
    if (this.#failure) throw this.#failure;
    return words;
  }

  /** The reason of a failed readback: a device that is lost says so a little later. */
  async #explain(error: unknown): Promise<never> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    throw this.#failure ?? error;
  }

  #flushUploads(): void {
    this.#device.queue.submit([]);
    this.#uploadedBytes = 0;
  }
}

/**
 * Texels along a side of a texture that needs `side`: one more than a power of two, where there may
 * be. llvmpipe compiles a kernel again for textures of which a side is a power of two and those of
 * which it is not, which takes a software adapter 0.1 to 0.5 s.
 */
function textureSide(side: number, maxTextureSide: number): number {
  const isPowerOfTwo = (side & (side - 1)) === 0;
  return isPowerOfTwo && side < maxTextureSide ? side + 1 : side;
}

function describeAdapter(info: GPUAdapterInfo, { name }: GpuProvider): string {
  const adapter = info.description || info.device || "unnamed adapter";
  return `${adapter}${info.isFallbackAdapter ? " (software adapter)" : ""}, ${name}`;
}

/** What a run has of a program. */
function part<Dims>(program: Program<Dims>, dims: Dims): RecordedPart<Dims> {
  invariant(program instanceof GpuProgram, "program of another device");
  return { calls: program.prepared, dims };
}

/** The failure that an error outside of all error scopes is; each provider has its own classes. */
function uncaptured({ constructor, message }: GPUError): Error {
  return constructor.name === "GPUOutOfMemoryError"
    ? new OutOfMemoryError(`The GPU device has no memory left: ${message}`)
    : new KernelError("(any)", message);
}

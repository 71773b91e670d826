import type { Capabilities } from "./capabilities.ts";
import type { DeviceBuffer, KernelCall } from "./kernel.ts";

/**
 * Kernel calls made ready to run: pipelines compiled, bind groups built. Opaque outside its device.
 */
export interface Program<Dims> {
  readonly calls: readonly KernelCall<Dims>[];
}

/** Bytes `[0, bytes)` of a buffer to read back after a program has run. */
export interface ReadRequest {
  readonly buffer: DeviceBuffer;
  readonly bytes: number;
}

/** Bytes of a buffer; offset and length are multiples of 4. */
export interface BufferRange {
  readonly buffer: DeviceBuffer;
  readonly byteOffset: number;
  readonly bytes: number;
}

/** Copies ranges of buffers to the host in the step loop, through memory made beforehand. */
export interface RangeReader {
  /** Most bytes of one read. */
  readonly bytes: number;
  /**
   * The ranges' bytes one behind the other, as all earlier runs and writes have left them; a plain
   * value where the device can read back synchronously.
   *
   * @throws {DeviceLostError} when the device is gone.
   */
  read(ranges: readonly BufferRange[]): Uint32Array | Promise<Uint32Array>;
}

/** A program that follows another in the same submission. */
export interface FurtherRun<Dims> {
  readonly program: Program<Dims>;
  readonly dims: Dims;
  /** As of {@link RunOptions}, where the first program's are given. */
  readonly nextDims?: Dims | undefined;
}

/** Options of a run. */
export interface RunOptions<Dims> {
  /**
   * The predicted dimensions of the program's next run, with a readback of the same size: a device
   * may encode that run while it works. A wrong prediction costs time and nothing else.
   */
  readonly nextDims?: Dims | undefined;
  /** What runs behind the program, in this order, before the readback. */
  readonly further?: readonly FurtherRun<Dims>[];
  /** Is called once the work is submitted, before its results are waited for. */
  readonly onSubmitted?: (() => void) | undefined;
}

/**
 * Something that executes kernel calls over buffers: a GPU by WGSL, or the CPU by the definitions.
 *
 * Programs run in the order given and see each other's writes. A device belongs to one isolate.
 */
export interface Device {
  readonly kind: "webgpu" | "cpu";
  /** The device in words, for people. */
  readonly description: string;
  /** Features and limits for kernels, from which tunings are chosen. */
  readonly capabilities: Capabilities;
  /** True where "GPU" threads are CPU threads: kernels are then tuned for that. */
  readonly isSoftware: boolean;
  /** Largest buffer that a kernel can bind whole, bytes. */
  readonly maxBindingBytes: number;
  /** Milliseconds spent so far waiting for results; grows with each `run`. */
  readonly waitedMs: number;
  /**
   * Milliseconds so far between submissions and the waits for their results, in which the host's
   * work delayed nothing. Runs whose results were complete before the wait are not counted.
   */
  readonly overlappedMs: number;

  /**
   * Allocates zeroed memory.
   *
   * @throws {RangeError} when the device has no room or the buffer cannot be bound.
   */
  createBuffer(label: string, bytes: number): Promise<DeviceBuffer>;

  /**
   * Allocates a zeroed texture of `width` by `height` texels of 16 bytes, rows one after the other:
   * in WGSL a `texture_storage_2d<rgba32uint, A>`, A being `read` for bindings that are read and
   * `write` for others. Only kernels read and write it; nothing else takes a texture but
   * `destroyBuffer`.
   *
   * @throws {RangeError} when a side is longer than `capabilities.maxTextureSide`, or there is no
   * room.
   */
  createTexture(label: string, width: number, height: number): Promise<DeviceBuffer>;

  /** Copies bytes `[0, bytes)` of one buffer into another, after all earlier runs. */
  copyBuffer(from: DeviceBuffer, to: DeviceBuffer, bytes: number): void;

  /** Frees a buffer's memory. Programs that bind it must not run again. */
  destroyBuffer(buffer: DeviceBuffer): void;

  /** Copies `data` into `buffer` before any later `run`; offset and length are multiples of 4. */
  write(buffer: DeviceBuffer, byteOffset: number, data: Uint8Array | Uint32Array): void;

  /**
   * Prepares calls; nothing is created per run afterwards. A call that occurs several times is
   * prepared once.
   *
   * @param onProgress is told the share of the calls that are prepared.
   * @throws {KernelError} naming the kernel that does not compile or bind.
   */
  compile<Dims>(
    calls: readonly KernelCall<Dims>[],
    onProgress?: (share: number) => void,
  ): Promise<Program<Dims>>;

  /**
   * Runs a program for one step, and whatever else `options` name, and returns the words asked for.
   *
   * A plain value where the device can read back synchronously, else a promise.
   *
   * @throws {DeviceLostError} when the device is gone; it stays gone.
   */
  run<Dims>(
    program: Program<Dims>,
    dims: Dims,
    read: ReadRequest,
    options?: RunOptions<Dims>,
  ): Uint32Array | Promise<Uint32Array>;

  /**
   * Runs a program for one step like `run`, and returns how long each of its calls took by the
   * device's own clock, ns. For benches, where `capabilities.hasTimestamps`; of a software adapter
   * only the sum is right.
   */
  profile?<Dims>(program: Program<Dims>, dims: Dims): Promise<Float64Array<ArrayBuffer>>;

  /** Makes a reader of at most so many bytes at a time. */
  createReader(bytes: number): Promise<RangeReader>;

  /** Reads any buffer; for tests and diagnosis, not for the step loop. */
  read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>>;

  /** Releases everything. Idempotent. */
  destroy(): void;
}

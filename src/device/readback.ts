import { alignUp } from "../base/math.ts";
import { MAX_DRAWS } from "../core/batch.ts";
import { MAX_LOGPROBS } from "../core/sampling_params.ts";
import type { GpuProvider } from "./gpu_provider.ts";

/**
 * Deno versions on which `mapAsync` has been seen to return only when the queue is idle, with the
 * buffer already mapped. Awaiting its promise instead costs at least 10 ms, also where the GPU is
 * done.
 */
const TESTED_DENO = /^2\.9\./;

/** Room for as many draws with their log-probabilities as a plan may have. */
const DRAWS_BYTES = 4 * (2 + 2 * MAX_LOGPROBS) * MAX_DRAWS;

/**
 * Results that arrive sooner than this after the request were complete before it: the device was
 * idle. The request alone takes some 10 us.
 */
const READY_MS = 0.05;
/** One for the step in flight, and one for the step that is encoded ahead. */
const NUM_STAGING = 2;

/** Options of a readback. */
export interface ReadbackOptions {
  /** Most bytes of one result; default: those of a step's draws. */
  readonly bytes?: number;
  /** Milliseconds that never go back; default: this machine's. For tests. */
  readonly now?: () => number;
}

/** The staging buffers through which each step's small result comes back. */
export class Readback {
  readonly #device: GPUDevice;
  readonly #bytes: number;
  /** Those without a read in flight. */
  readonly #free: GPUBuffer[];
  /** Deno aborts the process when any other is read without waiting for its promise. */
  readonly #mappedBefore: WeakSet<GPUBuffer>;
  readonly #now: () => number;
  #synchronous: boolean;
  #waitedMs = 0;
  #overlappedMs = 0;

  private constructor(
    device: GPUDevice,
    free: GPUBuffer[],
    { bytes, mode, now }: { bytes: number; mode: GpuProvider["readback"]; now: () => number },
  ) {
    this.#now = now;
    this.#device = device;
    this.#bytes = bytes;
    this.#free = free;
    this.#mappedBefore = new WeakSet(free);
    this.#synchronous = mode === "blocking" && TESTED_DENO.test(Deno.version.deno);
  }

  /**
   * Makes the staging buffers and maps each once: an unmapped one may not be read synchronously.
   */
  static async create(
    device: GPUDevice,
    mode: GpuProvider["readback"],
    { bytes = DRAWS_BYTES, now = () => performance.now() }: ReadbackOptions = {},
  ): Promise<Readback> {
    const size = alignUp(bytes, 256);
    const free = Array.from({ length: NUM_STAGING }, () => createStaging(device, size));
    for (const staging of free) {
      await staging.mapAsync(GPUMapMode.READ);
      staging.getMappedRange(0, 8);
      staging.unmap();
    }
    return new Readback(device, free, { bytes: size, mode, now });
  }

  /** Milliseconds spent in `read` so far. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Milliseconds between submissions and calls of `read` so far, of those that had to wait. */
  get overlappedMs(): number {
    return this.#overlappedMs;
  }

  /**
   * A buffer to copy `bytes` into; `read` or `giveBack` gives it back. One is made where earlier
   * reads are still awaited, which a step loop that waits for its steps never does.
   *
   * @throws {RangeError} beyond the size made at creation.
   */
  take(bytes: number): GPUBuffer {
    if (bytes > this.#bytes) {
      throw new RangeError(`Cannot read back ${bytes} bytes per step: ${this.#bytes} are staged`);
    }
    return this.#free.pop() ?? createStaging(this.#device, this.#bytes);
  }

  /** Takes a buffer back that nothing will be copied into. */
  giveBack(staging: GPUBuffer): void {
    this.#free.push(staging);
  }

  /** Waits for all work, submitted at `submitted` (ms), and copies the first `bytes` out. */
  read(
    staging: GPUBuffer,
    bytes: number,
    submitted: number,
  ): Uint32Array | Promise<Uint32Array> {
    const began = this.#now();
    const mapped = staging.mapAsync(GPUMapMode.READ);
    if (this.#synchronous && this.#mappedBefore.has(staging)) {
      try {
        const words = this.#copyAndUnmap(staging, bytes);
        // The promise settles later and says nothing new; a lost device is seen on `device.lost`.
        mapped.catch(() => {});
        this.#count(submitted, began);
        return words;
      } catch (error) {
        if (!(error instanceof DOMException)) throw error;
        this.#synchronous = false;
      }
    }
    return mapped.then(() => {
      const words = this.#copyAndUnmap(staging, bytes);
      this.#count(submitted, began);
      return words;
    });
  }

  #count(submitted: number, began: number): void {
    const waitedMs = this.#now() - began;
    this.#waitedMs += waitedMs;
    if (waitedMs > READY_MS) this.#overlappedMs += began - submitted;
  }

  #copyAndUnmap(staging: GPUBuffer, bytes: number): Uint32Array {
    const words = new Uint32Array(staging.getMappedRange(0, bytes).slice(0));
    staging.unmap();
    this.#mappedBefore.add(staging);
    this.#free.push(staging);
    return words;
  }
}

function createStaging(device: GPUDevice, size: number): GPUBuffer {
  return device.createBuffer({
    label: "readback",
    size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
}

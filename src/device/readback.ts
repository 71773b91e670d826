import { alignUp } from "../base/math.ts";
import type { GpuProvider } from "./gpu_provider.ts";

/**
 * Deno versions on which `mapAsync` has been seen to return only when the queue is idle, with the
 * buffer already mapped. Awaiting its promise instead costs at least 10 ms, whatever the GPU does.
 */
const TESTED_DENO = /^2\.9\./;

/** Room for the sampled tokens and log-probabilities of 1,400 sequences per step. */
const INITIAL_BYTES = 256 * 1024;

/** The staging buffers through which each step's small result comes back. */
export class Readback {
  readonly #device: GPUDevice;
  readonly #bytes: number;
  /** Those that no read is under way in. */
  readonly #free: GPUBuffer[];
  #synchronous: boolean;
  #waitedMs = 0;

  private constructor(
    device: GPUDevice,
    first: GPUBuffer,
    { bytes, mode }: { bytes: number; mode: GpuProvider["readback"] },
  ) {
    this.#device = device;
    this.#bytes = bytes;
    this.#free = [first];
    this.#synchronous = mode === "blocking" && TESTED_DENO.test(Deno.version.deno);
  }

  /** Makes a staging buffer and maps it once: an unmapped one may not be read synchronously. */
  static async create(
    device: GPUDevice,
    mode: GpuProvider["readback"],
    bytes = INITIAL_BYTES,
  ): Promise<Readback> {
    const size = alignUp(bytes, 256);
    const staging = createStaging(device, size);
    await staging.mapAsync(GPUMapMode.READ);
    staging.getMappedRange(0, 8);
    staging.unmap();
    return new Readback(device, staging, { bytes: size, mode });
  }

  /** Milliseconds spent in `read` so far. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /**
   * A buffer to copy `bytes` into; `read` gives it back. One is made where earlier reads are still
   * awaited, which a step loop that waits for its steps never does.
   *
   * @throws {RangeError} beyond the size made at creation.
   */
  take(bytes: number): GPUBuffer {
    if (bytes > this.#bytes) {
      throw new RangeError(`Cannot read back ${bytes} bytes per step: ${this.#bytes} are staged`);
    }
    return this.#free.pop() ?? createStaging(this.#device, this.#bytes);
  }

  /** Waits for all submitted work and copies the first `bytes` out. */
  read(staging: GPUBuffer, bytes: number): Uint32Array | Promise<Uint32Array> {
    const began = performance.now();
    const mapped = staging.mapAsync(GPUMapMode.READ);
    if (this.#synchronous) {
      try {
        const words = this.#copyAndUnmap(staging, bytes);
        // The promise settles later and says nothing new; a lost device is seen on `device.lost`.
        mapped.catch(() => {});
        this.#waitedMs += performance.now() - began;
        return words;
      } catch (error) {
        if (!(error instanceof DOMException)) throw error;
        this.#synchronous = false;
      }
    }
    return mapped.then(() => {
      const words = this.#copyAndUnmap(staging, bytes);
      this.#waitedMs += performance.now() - began;
      return words;
    });
  }

  #copyAndUnmap(staging: GPUBuffer, bytes: number): Uint32Array {
    const words = new Uint32Array(staging.getMappedRange(0, bytes).slice(0));
    staging.unmap();
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

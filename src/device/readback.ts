import { alignUp } from "../base/math.ts";

/**
 * Deno versions on which `mapAsync` has been seen to return only when the queue is idle, with the
 * buffer already mapped. Awaiting its promise instead costs at least 10 ms, whatever the GPU does.
 */
const TESTED_DENO = /^2\.9\./;

/** Room for the sampled tokens and log-probabilities of 1,400 sequences per step. */
const INITIAL_BYTES = 256 * 1024;

/** The staging buffer through which each step's small result comes back. */
export class Readback {
  #device: GPUDevice;
  #staging: GPUBuffer;
  #bytes: number;
  #synchronous = TESTED_DENO.test(Deno.version.deno);
  #waitedMs = 0;

  private constructor(device: GPUDevice, bytes: number, staging: GPUBuffer) {
    this.#device = device;
    this.#bytes = bytes;
    this.#staging = staging;
  }

  /** Makes the staging buffer and maps it once: an unmapped one may not be read synchronously. */
  static async create(device: GPUDevice, bytes = INITIAL_BYTES): Promise<Readback> {
    const size = alignUp(bytes, 256);
    const staging = device.createBuffer({
      label: "readback",
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    await staging.mapAsync(GPUMapMode.READ);
    staging.getMappedRange(0, 8);
    staging.unmap();
    return new Readback(device, size, staging);
  }

  /** Milliseconds spent in `read` so far. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** The buffer to copy `bytes` into. @throws {RangeError} beyond the size made at creation. */
  take(bytes: number): GPUBuffer {
    if (bytes > this.#bytes) {
      throw new RangeError(`Cannot read back ${bytes} bytes per step: ${this.#bytes} are staged`);
    }
    return this.#staging;
  }

  /** Waits for all submitted work and copies the first `bytes` out. */
  read(staging: GPUBuffer, bytes: number): Uint32Array | Promise<Uint32Array> {
    const began = performance.now();
    const mapped = staging.mapAsync(GPUMapMode.READ);
    if (this.#synchronous) {
      try {
        const words = copyAndUnmap(staging, bytes);
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
      const words = copyAndUnmap(staging, bytes);
      this.#waitedMs += performance.now() - began;
      return words;
    });
  }
}

function copyAndUnmap(staging: GPUBuffer, bytes: number): Uint32Array {
  const words = new Uint32Array(staging.getMappedRange(0, bytes).slice(0));
  staging.unmap();
  return words;
}

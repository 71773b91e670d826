import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";

/** The shape of the pool's memory on the device. */
export interface KvStorageShape {
  readonly numSlabs: number;
  /** Bytes of one slab in each buffer. */
  readonly slabBytes: readonly number[];
}

/**
 * The KV pool's memory: a few buffers, over which `src/core/kv_buffers.ts` lays the layers.
 *
 * Owns the buffers, and knows nothing of what is in them; a slab is the same range of each.
 */
export class KvStorage {
  readonly #device: Device;
  readonly #slabBytes: readonly number[];
  readonly #buffers: DeviceBuffer[];
  #numSlabs: number;

  private constructor(device: Device, shape: KvStorageShape, buffers: DeviceBuffer[]) {
    this.#device = device;
    this.#slabBytes = shape.slabBytes;
    this.#numSlabs = shape.numSlabs;
    this.#buffers = buffers;
  }

  /**
   * Allocates zeroed slabs. @throws {RangeError} when the device has no room; no buffer is kept.
   */
  static async create(device: Device, shape: KvStorageShape): Promise<KvStorage> {
    const buffers: DeviceBuffer[] = [];
    try {
      for (const [index, slabBytes] of shape.slabBytes.entries()) {
        buffers.push(await device.createBuffer(`kv ${index}`, shape.numSlabs * slabBytes));
      }
    } catch (error) {
      buffers.forEach((buffer) => device.destroyBuffer(buffer));
      throw error;
    }
    return new KvStorage(device, shape, buffers);
  }

  /** In the layout's order. Another set after each `resize`. */
  get buffers(): readonly DeviceBuffer[] {
    return [...this.#buffers];
  }

  get numSlabs(): number {
    return this.#numSlabs;
  }

  /**
   * Gives the pool `numSlabs` slabs; those below both sizes keep their contents.
   *
   * WebGPU has no virtual memory, so each buffer is copied into one of the new size, one at a time:
   * beyond the two sizes it takes the memory of one buffer. Call it between steps.
   *
   * @throws {RangeError} when the device has no room to grow, or cannot bind a buffer so large. The
   * pool keeps its size and contents; a buffer that had grown stays larger only if it cannot be put
   * back.
   */
  async resize(numSlabs: number): Promise<void> {
    const numBefore = this.#numSlabs;
    if (numSlabs <= numBefore) return await this.#shrink(numSlabs);
    const bytes = numSlabs * Math.max(...this.#slabBytes);
    const { maxBindingBytes } = this.#device;
    if (bytes > maxBindingBytes) {
      throw new RangeError(
        `${numSlabs} slabs need ${bytes} bytes per buffer, but this device binds at most ` +
          `${maxBindingBytes}`,
      );
    }
    try {
      for (const [index, slabBytes] of this.#slabBytes.entries()) {
        await this.#replace(index, numSlabs * slabBytes, numBefore * slabBytes);
      }
    } catch (error) {
      if (error instanceof RangeError) await this.#shrink(numBefore);
      throw error;
    }
    this.#numSlabs = numSlabs;
  }

  /**
   * Cannot fail: a buffer whose successor finds no room stays, larger than it need be.
   */
  async #shrink(numSlabs: number): Promise<void> {
    for (const [index, slabBytes] of this.#slabBytes.entries()) {
      try {
        await this.#replace(index, numSlabs * slabBytes, numSlabs * slabBytes);
      } catch (error) {
        // Others may have lost the slabs beyond already.
        if (!(error instanceof RangeError)) throw error;
      }
    }
    this.#numSlabs = numSlabs;
  }

  /** Replaces a buffer by one of `bytes` bytes, with the first `kept` bytes of the old one. */
  async #replace(index: number, bytes: number, kept: number): Promise<void> {
    const old = this.#buffers[index]!;
    if (old.bytes === bytes) return;
    const next = await this.#device.createBuffer(`kv ${index}`, bytes);
    this.#device.copyBuffer(old, next, kept);
    this.#buffers[index] = next;
    this.#device.destroyBuffer(old);
  }
}

import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";

/** The shape of the pool's memory on the device. */
export interface KvStorageShape {
  readonly numBlocks: number;
  /** Bytes of one block in each layer, first to last. */
  readonly layerBlockBytes: readonly number[];
}

/**
 * The KV pool's memory: one buffer per layer, of blocks as `src/core/kv_layout.ts` has them.
 *
 * Owns the buffers, and knows nothing of what is in them; a block id addresses the same place in each.
 */
export class KvStorage {
  readonly #device: Device;
  readonly #layerBlockBytes: readonly number[];
  readonly #buffers: DeviceBuffer[];
  #numBlocks: number;

  private constructor(device: Device, shape: KvStorageShape, buffers: DeviceBuffer[]) {
    this.#device = device;
    this.#layerBlockBytes = shape.layerBlockBytes;
    this.#numBlocks = shape.numBlocks;
    this.#buffers = buffers;
  }

  /** Allocates zeroed blocks. @throws {RangeError} when the device has no room. */
  static async create(device: Device, shape: KvStorageShape): Promise<KvStorage> {
    const buffers: DeviceBuffer[] = [];
    for (const [layer, blockBytes] of shape.layerBlockBytes.entries()) {
      buffers.push(await device.createBuffer(`kv ${layer}`, shape.numBlocks * blockBytes));
    }
    return new KvStorage(device, shape, buffers);
  }

  /** By layer. Another set after each `resize`. */
  get buffers(): readonly DeviceBuffer[] {
    return [...this.#buffers];
  }

  get numBlocks(): number {
    return this.#numBlocks;
  }

  /**
   * Gives the pool `numBlocks` blocks; those below both sizes keep their contents.
   *
   * WebGPU has no virtual memory, so each layer is copied into a buffer of the new size, one layer at a
   * time: beyond the two sizes it takes one layer's buffer. Call it between steps.
   *
   * @throws {RangeError} when the device has no room to grow. The pool keeps its size and contents; layers
   * that had grown stay larger than they need to be.
   */
  async resize(numBlocks: number): Promise<void> {
    const isGrowing = numBlocks > this.#numBlocks;
    const numKept = Math.min(numBlocks, this.#numBlocks);
    for (const [layer, blockBytes] of this.#layerBlockBytes.entries()) {
      try {
        await this.#replace(layer, numBlocks * blockBytes, numKept * blockBytes);
      } catch (error) {
        // Shrinking goes on: the layer keeps a buffer that is larger than it need be, and other layers
        // may have lost the blocks beyond already.
        if (isGrowing || !(error instanceof RangeError)) throw error;
      }
    }
    this.#numBlocks = numBlocks;
  }

  /** Gives a layer a buffer of `bytes` with the first `kept` bytes of its old one. */
  async #replace(layer: number, bytes: number, kept: number): Promise<void> {
    const old = this.#buffers[layer]!;
    const next = await this.#device.createBuffer(`kv ${layer}`, bytes);
    this.#device.copyBuffer(old, next, kept);
    this.#buffers[layer] = next;
    this.#device.destroyBuffer(old);
  }
}

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
 * Owns the buffers, and knows nothing of what is in them; a block id addresses the same place in
 * each.
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
   * WebGPU has no virtual memory, so each layer is copied into a buffer of the new size, one layer
   * at a time: beyond the two sizes it takes one layer's buffer. Call it between steps.
   *
   * @throws {RangeError} when the device has no room to grow, or cannot bind a layer so large. The
   * pool keeps its size and contents; a layer that had grown stays larger only if it cannot be put
   * back.
   */
  async resize(numBlocks: number): Promise<void> {
    const numBefore = this.#numBlocks;
    if (numBlocks <= numBefore) return await this.#shrink(numBlocks);
    const bytes = numBlocks * Math.max(...this.#layerBlockBytes);
    const { maxBindingBytes } = this.#device;
    if (bytes > maxBindingBytes) {
      throw new RangeError(
        `${numBlocks} blocks need ${bytes} bytes per layer, but this device binds at most ` +
          `${maxBindingBytes}`,
      );
    }
    try {
      for (const [layer, blockBytes] of this.#layerBlockBytes.entries()) {
        await this.#replace(layer, numBlocks * blockBytes, numBefore * blockBytes);
      }
    } catch (error) {
      if (error instanceof RangeError) await this.#shrink(numBefore);
      throw error;
    }
    this.#numBlocks = numBlocks;
  }

  /**
   * Cannot fail: a layer whose new buffer finds no room keeps one that is larger than it need be.
   */
  async #shrink(numBlocks: number): Promise<void> {
    for (const [layer, blockBytes] of this.#layerBlockBytes.entries()) {
      try {
        await this.#replace(layer, numBlocks * blockBytes, numBlocks * blockBytes);
      } catch (error) {
        // Others may have lost the blocks beyond already.
        if (!(error instanceof RangeError)) throw error;
      }
    }
    this.#numBlocks = numBlocks;
  }

  /** Gives a layer a buffer of `bytes` with the first `kept` bytes of its old one. */
  async #replace(layer: number, bytes: number, kept: number): Promise<void> {
    const old = this.#buffers[layer]!;
    if (old.bytes === bytes) return;
    const next = await this.#device.createBuffer(`kv ${layer}`, bytes);
    this.#device.copyBuffer(old, next, kept);
    this.#buffers[layer] = next;
    this.#device.destroyBuffer(old);
  }
}

import { WatchedDevice } from "../../bench/watched_device.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";

/**
 * A device that binds less than the one behind it; the buffers made through it are freed by
 * `close()`.
 */
export class BoundedDevice extends WatchedDevice {
  readonly #maxBindingBytes: number;

  constructor(device: Device, maxBindingBytes: number) {
    super(device);
    this.#maxBindingBytes = maxBindingBytes;
  }

  override get maxBindingBytes(): number {
    return this.#maxBindingBytes;
  }

  override async createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    if (bytes > this.#maxBindingBytes) {
      throw new RangeError(
        `${label} needs ${bytes} bytes, but this device binds at most ${this.#maxBindingBytes}`,
      );
    }
    return await super.createBuffer(label, bytes);
  }
}

import type { Capabilities } from "../src/device/capabilities.ts";
import type {
  Device,
  Program,
  RangeReader,
  ReadRequest,
  RunOptions,
} from "../src/device/device.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";

/**
 * A GPU without memory or arithmetic, on which everything fits and all results are zeros: what a model of
 * any size would ask of a device can be counted on it.
 */
export class NullDevice implements Device {
  readonly kind = "webgpu";
  readonly description = "a GPU that computes nothing";
  readonly isSoftware = false;
  readonly maxBindingBytes = 2 ** 31 - 4;
  readonly waitedMs = 0;
  readonly overlappedMs = 0;
  readonly capabilities: Capabilities;

  /** Kernels are chosen for what `capabilities` say. */
  constructor(capabilities: Capabilities) {
    this.capabilities = capabilities;
  }

  createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    return Promise.resolve({ label, bytes });
  }

  createTexture(label: string, width: number, height: number): Promise<DeviceBuffer> {
    return Promise.resolve({ label, bytes: 16 * width * height, isTexture: true });
  }

  copyBuffer(): void {}
  destroyBuffer(): void {}
  write(..._: Parameters<Device["write"]>): void {}
  destroy(): void {}

  compile<Dims>(calls: readonly KernelCall<Dims>[]): Promise<Program<Dims>> {
    return Promise.resolve({ calls });
  }

  run<Dims>(
    _: Program<Dims>,
    __: Dims,
    { bytes }: ReadRequest,
    { onSubmitted }: RunOptions<Dims> = {},
  ): Uint32Array {
    onSubmitted?.();
    return new Uint32Array(bytes / 4);
  }

  createReader(bytes: number): Promise<RangeReader> {
    return Promise.resolve({ bytes, read: () => new Uint32Array(bytes / 4) });
  }

  read(_: DeviceBuffer, __: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(new Uint8Array(bytes));
  }
}

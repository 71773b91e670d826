import type {
  Device,
  Program,
  RangeReader,
  ReadRequest,
  RunOptions,
} from "../src/device/device.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";

/**
 * A device that remembers what is made on it and run: how benches see into a runner.
 *
 * Owns the buffers made through it, until `close()`; the device itself stays the caller's.
 */
export class WatchedDevice implements Device {
  readonly #device: Device;
  readonly #buffers = new Set<DeviceBuffer>();
  /** The calls that were last compiled. */
  calls: readonly KernelCall<unknown>[] = [];
  /** What the last run was given. */
  dims: unknown;
  lastRead: ReadRequest | undefined;

  constructor(device: Device) {
    this.#device = device;
  }

  get kind() {
    return this.#device.kind;
  }
  get description() {
    return this.#device.description;
  }
  get capabilities() {
    return this.#device.capabilities;
  }
  get isSoftware() {
    return this.#device.isSoftware;
  }
  get maxBindingBytes() {
    return this.#device.maxBindingBytes;
  }
  get waitedMs() {
    return this.#device.waitedMs;
  }
  get overlappedMs() {
    return this.#device.overlappedMs;
  }

  /** The buffers made so far. */
  get buffers(): readonly DeviceBuffer[] {
    return [...this.#buffers];
  }

  async createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    const buffer = await this.#device.createBuffer(label, bytes);
    this.#buffers.add(buffer);
    return buffer;
  }

  async createTexture(label: string, width: number, height: number): Promise<DeviceBuffer> {
    const image = await this.#device.createTexture(label, width, height);
    this.#buffers.add(image);
    return image;
  }

  copyBuffer(from: DeviceBuffer, to: DeviceBuffer, bytes: number): void {
    this.#device.copyBuffer(from, to, bytes);
  }

  destroyBuffer(buffer: DeviceBuffer): void {
    this.#buffers.delete(buffer);
    this.#device.destroyBuffer(buffer);
  }

  write(buffer: DeviceBuffer, byteOffset: number, data: Uint8Array | Uint32Array): void {
    this.#device.write(buffer, byteOffset, data);
  }

  compile<Dims>(calls: readonly KernelCall<Dims>[]): Promise<Program<Dims>> {
    this.calls = calls as readonly KernelCall<unknown>[];
    return this.#device.compile(calls);
  }

  run<Dims>(
    program: Program<Dims>,
    dims: Dims,
    read: ReadRequest,
    options?: RunOptions<Dims>,
  ): Uint32Array | Promise<Uint32Array> {
    this.dims = dims;
    this.lastRead = read;
    return this.#device.run(program, dims, read, options);
  }

  createReader(bytes: number): Promise<RangeReader> {
    return this.#device.createReader(bytes);
  }

  read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#device.read(buffer, byteOffset, bytes);
  }

  /** Frees the buffers made through it. */
  close(): void {
    for (const buffer of this.#buffers) this.#device.destroyBuffer(buffer);
    this.#buffers.clear();
  }

  destroy(): void {
    this.close();
    this.#device.destroy();
  }
}

import { invariant } from "../base/invariant.ts";
import type { Capabilities } from "./capabilities.ts";
import type {
  BufferRange,
  Device,
  Program,
  RangeReader,
  ReadRequest,
  RunOptions,
} from "./device.ts";
import { HostBuffer } from "./host_buffer.ts";
import type { DeviceBuffer, KernelCall } from "./kernel.ts";

/** Definitions need none of what WGSL may be granted. */
const CAPABILITIES: Capabilities = {
  tier: "software",
  dialect: "naga",
  hasSubgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  hasF16: false,
  hasPackedDot: false,
  matrixConfigs: [],
  hasTimestamps: false,
  maxWorkgroupBytes: 16384,
  maxWorkgroupLanes: 256,
  maxTextureSide: 0,
};

/**
 * Runs kernels by their definitions, in plain TypeScript on the CPU.
 *
 * It serves where there is no GPU adapter, and every WGSL kernel is tested against it.
 */
export class ReferenceDevice implements Device {
  readonly kind = "cpu";
  readonly description = "reference device (plain TypeScript on one CPU core)";
  readonly capabilities = CAPABILITIES;
  readonly isSoftware = true;
  readonly maxBindingBytes = 2 ** 31 - 4;
  /** A run is over before anything else can be done. */
  readonly overlappedMs = 0;
  #waitedMs = 0;

  get waitedMs(): number {
    return this.#waitedMs;
  }

  createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    return Promise.try(() => new HostBuffer(label, bytes));
  }

  /** Of any size, so that the definitions of kernels that use textures can be tested here. */
  createTexture(label: string, width: number, height: number): Promise<DeviceBuffer> {
    return Promise.try(() => new HostBuffer(label, 16 * width * height, true));
  }

  copyBuffer(from: DeviceBuffer, to: DeviceBuffer, bytes: number): void {
    host(to).write(0, host(from).u8.subarray(0, bytes));
  }

  destroyBuffer(_buffer: DeviceBuffer): void {}

  write(buffer: DeviceBuffer, byteOffset: number, data: Uint8Array | Uint32Array): void {
    host(buffer).write(byteOffset, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  compile<Dims>(calls: readonly KernelCall<Dims>[]): Promise<Program<Dims>> {
    return Promise.resolve(new ReferenceProgram(calls));
  }

  run<Dims>(
    program: Program<Dims>,
    dims: Dims,
    read: ReadRequest,
    { onSubmitted, further = [] }: RunOptions<Dims> = {},
  ): Uint32Array {
    onSubmitted?.();
    const began = performance.now();
    for (const next of [{ program, dims }, ...further]) {
      invariant(next.program instanceof ReferenceProgram, "program of another device");
      next.program.run(next.dims);
    }
    this.#waitedMs += performance.now() - began;
    return host(read.buffer).u32.slice(0, read.bytes / 4);
  }

  createReader(bytes: number): Promise<RangeReader> {
    return Promise.resolve({ bytes, read: readRanges });
  }

  read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(host(buffer).u8.slice(byteOffset, byteOffset + bytes));
  }

  destroy(): void {}
}

class ReferenceProgram<Dims> implements Program<Dims> {
  readonly #buffers: readonly Readonly<Record<string, HostBuffer>>[];

  constructor(readonly calls: readonly KernelCall<Dims>[]) {
    this.#buffers = calls.map(({ bindings, buffers }) =>
      Object.fromEntries(bindings.map(({ name }, i) => [name, host(buffers[i]!)]))
    );
  }

  run(dims: Dims): void {
    this.calls.forEach((call, i) => {
      if (call.workgroups(dims).every((count) => count > 0)) call.reference(this.#buffers[i]!);
    });
  }
}

function readRanges(ranges: readonly BufferRange[]): Uint32Array {
  const all = new Uint8Array(ranges.reduce((sum, { bytes }) => sum + bytes, 0));
  let end = 0;
  for (const { buffer, byteOffset, bytes } of ranges) {
    all.set(host(buffer).u8.subarray(byteOffset, byteOffset + bytes), end);
    end += bytes;
  }
  return new Uint32Array(all.buffer);
}

function host(buffer: DeviceBuffer): HostBuffer {
  invariant(buffer instanceof HostBuffer, `buffer ${buffer.label} is not of the reference device`);
  return buffer;
}

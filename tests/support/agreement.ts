import { panelExtent, panelWeightsCall } from "../../kernels/weights/panel_weights.ts";
import type { WeightDtype } from "../../src/core/weight_format.ts";
import { dawnProvider } from "../../src/device/dawn_provider.ts";
import type { Device } from "../../src/device/device.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";

/** Whose adapter the tests run on; `tests/device/dawn_test.ts` sets it for a process of its own. */
export const BACKEND_VARIABLE = "QUIRE_TEST_GPU_BACKEND";

/** The adapter that all tests of a file share; undefined with the reason printed. */
const gpu = await openGpu();

/** Opens a device of its own for a test that spoils it. */
export async function openTestDevice(): Promise<WebGpuDevice | undefined> {
  const isDawn = Deno.env.get(BACKEND_VARIABLE) === "dawn";
  return await WebGpuDevice.open(isDawn ? await dawnProvider() : undefined);
}

async function openGpu(): Promise<WebGpuDevice | undefined> {
  const device = await openTestDevice();
  if (device === undefined) {
    if (Deno.env.has("QUIRE_REQUIRE_GPU")) throw new Error("QUIRE_REQUIRE_GPU: no GPU adapter");
    // deno-lint-ignore no-console -- a skip must say why
    console.warn("skipped: no WebGPU adapter (apt-get install mesa-vulkan-drivers libvulkan1)");
  }
  return device;
}

/** A test on the GPU adapter; ignored without one. */
export function gpuTest(name: string, run: (device: WebGpuDevice) => Promise<void>): void {
  Deno.test({
    name,
    ignore: gpu === undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () => run(gpu!),
  });
}

type Elements = Float32Array | Uint32Array | Uint16Array;

/** A matrix that is put on the device as a texture in panels. */
export interface TextureMatrix {
  readonly values: Elements;
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly columns: number;
}

/** Buffers by binding name, given as the bytes they start with. */
export type Contents = Readonly<Record<string, Elements | TextureMatrix>>;

/**
 * Runs the calls on `device` and on the reference device over equal contents, and returns the
 * buffer `output` of both as raw words.
 */
export async function runBoth<Dims>(
  device: Device,
  contents: Contents,
  calls: (buffers: Record<string, DeviceBuffer>) => readonly KernelCall<Dims>[],
  dims: Dims,
  output: string,
): Promise<{ actual: HostBuffer; expected: HostBuffer }> {
  const [actual, expected] = await Promise.all([
    runOn(device, contents, calls, dims, output),
    runOn(new ReferenceDevice(), contents, calls, dims, output),
  ]);
  return { actual, expected };
}

/** Runs the calls on `device` over these contents and returns the buffer `output` as raw words. */
export async function runOn<Dims>(
  device: Device,
  contents: Contents,
  calls: (buffers: Record<string, DeviceBuffer>) => readonly KernelCall<Dims>[],
  dims: Dims,
  output: string,
): Promise<HostBuffer> {
  const buffers: Record<string, DeviceBuffer> = {};
  for (const [name, data] of Object.entries(contents)) {
    buffers[name] = "dtype" in data
      ? await textureOn(device, name, data)
      : await bufferOn(device, name, data);
  }
  const program = await device.compile(calls(buffers));
  await device.run(program, dims, { buffer: buffers[output]!, bytes: 4 });
  const bytes = await device.read(buffers[output]!, 0, buffers[output]!.bytes);
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
  const host = new HostBuffer(output, bytes.length);
  host.write(0, bytes);
  return host;
}

async function bufferOn(device: Device, name: string, data: Elements): Promise<DeviceBuffer> {
  const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const buffer = await device.createBuffer(name, bytes.byteLength);
  device.write(buffer, 0, bytes);
  return buffer;
}

async function textureOn(
  device: Device,
  name: string,
  matrix: TextureMatrix,
): Promise<DeviceBuffer> {
  const w = await bufferOn(device, name, matrix.values);
  const { width, height } = panelExtent(matrix.dtype, matrix.rows, matrix.columns)!;
  const out = await device.createTexture(name, width, height);
  const program = await device.compile([panelWeightsCall(matrix, { w, out })]);
  await device.run(program, undefined, { buffer: w, bytes: 4 });
  device.destroyBuffer(w);
  return out;
}

/** Deterministic values in [-scale, scale). */
export function noise(length: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  let state = (seed * 2654435761) >>> 0 || 1;
  return Float32Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) / 2 ** 31 - 1) * scale;
  });
}

/** Largest absolute difference over `[from, to)`; NaN anywhere counts as infinite. */
export function worstError(a: Float32Array, b: Float32Array, from = 0, to = a.length): number {
  let worst = 0;
  for (let i = from; i < to; i++) {
    const error = Math.abs(a[i]! - b[i]!);
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst;
}

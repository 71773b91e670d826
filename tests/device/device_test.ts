import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceLostError, KernelError, OutOfMemoryError } from "../../src/core/errors.ts";
import type { Device } from "../../src/device/device.ts";
import { type Kernel, kernelCall } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { denoProvider, type GpuProvider } from "../../src/device/gpu_provider.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, openTestDevice } from "../support/agreement.ts";
import { replacing } from "../support/counting_provider.ts";

/** `out[i] += in[i] * FACTOR`: the smallest kernel with both kinds of binding. */
const scaleAdd: Kernel<{ FACTOR: number; N: number }> = {
  name: "scale_add",
  source: `
@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(\${N})
fn scale_add(@builtin(global_invocation_id) id: vec3<u32>) {
  out[id.x] += source[id.x] * \${FACTOR}u;
}`,
  bindings: [{ name: "source", access: "read" }, { name: "out", access: "read_write" }],
  reference({ source, out }, { FACTOR, N }) {
    for (let i = 0; i < N; i++) out!.u32[i]! += source!.u32[i]! * FACTOR;
  },
};

/** What every device must do alike. */
async function conforms(device: Device): Promise<void> {
  const source = await device.createBuffer("source", 16);
  const out = await device.createBuffer("out", 16);
  device.write(source, 4, Uint32Array.of(1, 2, 3));
  const twice = (FACTOR: number) =>
    kernelCall(scaleAdd, {
      constants: { FACTOR, N: 4 },
      buffers: { source, out },
      workgroups: ({ on }: { on: boolean }) => [on ? 1 : 0, 1, 1],
    });
  const program = await device.compile([twice(10), twice(100)]);
  const read = { buffer: out, bytes: 16 };
  assertEquals([...await device.run(program, { on: true }, read)], [0, 110, 220, 330]);
  assertEquals([...await device.run(program, { on: false }, read)], [0, 110, 220, 330]);
  const overlapping = [1, 2, 3].map(() => device.run(program, { on: false }, read));
  for (const words of overlapping) assertEquals([...await words], [0, 110, 220, 330]);
  device.write(source, 0, Uint32Array.of(1));
  assertEquals([...await device.run(program, { on: true }, read)], [110, 220, 440, 660]);
  assertEquals(new Uint32Array((await device.read(out, 8, 8)).buffer), Uint32Array.of(440, 660));
  const again = twice(1000);
  const shares: number[] = [];
  const repeated = await device.compile([again, again, twice(1000)], (share) => shares.push(share));
  // The reference device has nothing to compile.
  assertEquals(shares, device.kind === "cpu" ? [] : [0.5, 1]);
  assertEquals([...await device.run(repeated, { on: true }, read)], [3110, 3220, 6440, 9660]);
  assertEquals(repeated.calls.length, 3);
  device.write(out, 0, Uint32Array.of(110, 220, 440, 660));
  const wider = await device.createBuffer("wider", 32);
  device.copyBuffer(out, wider, 12);
  const copied = new Uint32Array((await device.read(wider, 0, 32)).buffer);
  assertEquals([...copied], [110, 220, 440, 0, 0, 0, 0, 0]);
  assert(device.waitedMs > 0);
  assertThrows(
    () =>
      kernelCall(scaleAdd, {
        constants: { FACTOR: 1, N: 4 },
        buffers: { out },
        workgroups: () => [1, 1, 1],
      }),
    TypeError,
    '"source" is missing',
  );
}

Deno.test("ReferenceDevice runs programs in order over zeroed buffers", () =>
  conforms(new ReferenceDevice()));
gpuTest("WebGpuDevice runs programs in order over zeroed buffers", conforms);

gpuTest("WebGpuDevice.compile() names the kernel that does not compile", async (gpu) => {
  const buffer = await gpu.createBuffer("b", 16);
  const broken = { ...scaleAdd, source: scaleAdd.source.replace("id.x", "id.nowhere") };
  const call = kernelCall(broken, {
    constants: { FACTOR: 1, N: 4 },
    buffers: { source: buffer, out: buffer },
    workgroups: () => [1, 1, 1] as const,
  });
  const error = await assertRejects(() => gpu.compile([call]), KernelError, "scale_add");
  assertEquals(error.kernel, "scale_add");
});

gpuTest(
  "WebGpuDevice.createBuffer() refuses what cannot be bound, with the numbers",
  async (gpu) => {
    const bytes = gpu.maxBindingBytes + 16;
    await assertRejects(() => gpu.createBuffer("huge", bytes), RangeError, String(bytes));
  },
);

gpuTest(
  "WebGpuDevice.createTexture() refuses a side that is too long, with the numbers",
  async (gpu) => {
    const side = gpu.capabilities.maxTextureSide + 1;
    await assertRejects(() => gpu.createTexture("huge", 1, side), RangeError, `1 by ${side}`);
  },
);

gpuTest(
  "WebGpuDevice.run() rejects with DeviceLostError where the device goes in that very step",
  async () => {
    const device = (await openTestDevice())!;
    const buffer = await device.createBuffer("b", 16);
    const program = await device.compile<null>([]);
    device.destroy();
    await assertRejects(
      async () => await device.run(program, null, { buffer, bytes: 4 }),
      DeviceLostError,
      "destroyed",
    );
  },
);

gpuTest(
  "WebGpuDevice.run() throws what the device has said outside of all scopes, by its kind",
  async () => {
    const said: readonly [GPUError, typeof OutOfMemoryError | typeof KernelError][] = [
      [new GPUOutOfMemoryError("no room"), OutOfMemoryError],
      [new GPUValidationError("no room"), KernelError],
    ];
    for (const [error, expected] of said) {
      const provider = denoProvider()!;
      const devices: GPUDevice[] = [];
      const device = (await WebGpuDevice.open(keeping(provider, devices)))!;
      const buffer = await device.createBuffer("b", 16);
      const program = await device.compile<null>([]);
      devices[0]!.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
      assertThrows(
        () => device.run(program, null, { buffer, bytes: 4 }),
        expected as typeof KernelError,
        "no room",
      );
      device.destroy();
    }
  },
);

/** The provider, which puts the devices that it makes on a list. */
function keeping(provider: GpuProvider, devices: GPUDevice[]): GpuProvider {
  const requestAdapter: GPU["requestAdapter"] = async (options) => {
    const adapter = await provider.gpu.requestAdapter(options);
    return adapter && replacing(adapter, {
      requestDevice: async (descriptor) => {
        const device = await adapter.requestDevice(descriptor);
        devices.push(device);
        return device;
      },
    });
  };
  return { ...provider, gpu: replacing(provider.gpu, { requestAdapter }) };
}

gpuTest("WebGpuDevice.run() throws DeviceLostError once the device is gone", async () => {
  const device = (await openTestDevice())!;
  const buffer = await device.createBuffer("b", 16);
  const program = await device.compile<null>([]);
  device.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertThrows(() => device.run(program, null, { buffer, bytes: 4 }), DeviceLostError);
});

import { assert, assertEquals } from "@std/assert";
import type { Device, Program } from "../../src/device/device.ts";
import { type DeviceBuffer, type Kernel, kernelCall } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { CountingProvider } from "../support/counting_provider.ts";

interface Dims {
  readonly rows: number;
}

/** `out[i] += in[i] + 1` for as many `i` as there are workgroups. */
const add: Kernel<Record<never, never>> = {
  name: "add",
  source: `
@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1)
fn add(@builtin(global_invocation_id) id: vec3<u32>) { out[id.x] += source[id.x] + 1; }`,
  bindings: [{ name: "source", access: "read" }, { name: "out", access: "read_write" }],
  reference({ source, out }) {
    for (let i = 0; i < 4; i++) out!.u32[i]! += source!.u32[i]! + 1;
  },
};

interface Rig {
  readonly source: DeviceBuffer;
  readonly out: DeviceBuffer;
  readonly program: Program<Dims>;
}

async function rigOn(device: Device): Promise<Rig> {
  const source = await device.createBuffer("source", 16);
  const out = await device.createBuffer("out", 16);
  const workgroups = ({ rows }: Dims) => [rows, 1, 1] as const;
  const call = kernelCall(add, { constants: {}, buffers: { source, out }, workgroups });
  return { source, out, program: await device.compile([call]) };
}

/** A step of `rows`, which expects one of `nextRows`. */
async function step(
  device: Device,
  { out, program }: Rig,
  nextRows: number,
  rows = 4,
): Promise<number[]> {
  const options = { nextDims: { rows: nextRows } };
  return [...await device.run(program, { rows }, { buffer: out, bytes: 16 }, options)];
}

async function countsRight(device: Device): Promise<void> {
  const rig = await rigOn(device);
  const expectations = [4, 4, 1, 1, 4, 4, 4, 2, 4, 4];
  for (const [i, nextRows] of expectations.entries()) {
    device.write(rig.source, 0, Uint32Array.of(0, 0, 0, i));
    const steps = i + 1;
    const expected = [steps, steps, steps, steps + i * steps / 2];
    assertEquals(await step(device, rig, nextRows), expected);
  }
  assert(device.overlappedMs >= 0 && device.overlappedMs < Infinity);
}

Deno.test("ReferenceDevice.run() computes the same whatever was expected of it", () =>
  countsRight(new ReferenceDevice()));
gpuTest("WebGpuDevice.run() computes the same whatever was expected of it", countsRight);

async function runsWhatFollows(device: Device): Promise<void> {
  const { out, program } = await rigOn(device);
  const further = [4, 0, 4].map((rows) => ({ program, dims: { rows }, nextDims: { rows } }));
  const read = { buffer: out, bytes: 16 };
  const options = { nextDims: { rows: 4 }, further };
  for (let i = 1; i <= 3; i++) {
    const words = await device.run(program, { rows: 4 }, read, options);
    assertEquals([...words], [3 * i, 3 * i, 3 * i, 3 * i]);
  }
}

Deno.test("ReferenceDevice.run() runs what follows before it reads back", () =>
  runsWhatFollows(new ReferenceDevice()));
gpuTest("WebGpuDevice.run() runs what follows before it reads back", runsWhatFollows);

gpuTest(
  "WebGpuDevice.run() submits what follows in one piece, recorded ahead where it is foreseen",
  () =>
    withCounts(async (device, counts) => {
      await runsWhatFollows(device);
      // One of the first run, and one ahead in each.
      assertEquals([counts.numSubmissions, counts.numEncoders], [3, 4]);
    }),
);

async function calledOnceBeforeResults(device: Device): Promise<void> {
  const { out, program } = await rigOn(device);
  const order: string[] = [];
  const onSubmitted = () => void order.push("submitted");
  await device.run(program, { rows: 1 }, { buffer: out, bytes: 4 }, { onSubmitted });
  order.push("results");
  assertEquals(order, ["submitted", "results"]);
}

Deno.test("ReferenceDevice.run() calls onSubmitted once, before there are results", () =>
  calledOnceBeforeResults(new ReferenceDevice()));
gpuTest(
  "WebGpuDevice.run() calls onSubmitted once, before there are results",
  calledOnceBeforeResults,
);

/** A device that counts, opened for one test. */
async function withCounts(
  body: (device: WebGpuDevice, counts: CountingProvider) => Promise<void>,
): Promise<void> {
  const counts = new CountingProvider();
  const device = (await WebGpuDevice.open(counts.provider))!;
  try {
    await body(device, counts);
  } finally {
    device.destroy();
  }
}

gpuTest(
  "WebGpuDevice.run() submits what was recorded while the step before was computed",
  () =>
    withCounts(async (device, counts) => {
      const rig = await rigOn(device);
      const recordings: number[] = [];
      for (let i = 0; i < 5; i++) {
        const before = counts.numEncoders;
        const [rows, nextRows] = i % 2 === 0 ? [4, 2] : [2, 4];
        await step(device, rig, nextRows, rows);
        recordings.push(counts.numEncoders - before);
      }
      // Three of them with four rows.
      assertEquals(await step(device, rig, 4, 1), [6, 5, 3, 3]);
      // The first has two to record; each of the others finds its own recorded.
      assertEquals(recordings, [2, 1, 1, 1, 1]);
      // One frees what was recorded for the sixth, in vain.
      assertEquals(counts.numSubmissions, 7);
    }),
);

gpuTest(
  "WebGpuDevice.run() records nothing ahead unless it is told what comes next",
  () =>
    withCounts(async (device, counts) => {
      const { out, program } = await rigOn(device);
      for (let i = 0; i < 3; i++) {
        await device.run(program, { rows: 4 }, { buffer: out, bytes: 16 });
      }
      assertEquals(counts.numEncoders, 3);
    }),
);

gpuTest(
  "WebGpuDevice.destroyBuffer() drops what may name the buffer and was not submitted",
  () =>
    withCounts(async (device, counts) => {
      const old = await rigOn(device);
      const other = await device.createBuffer("other", 16);
      await step(device, old, 4);
      device.destroyBuffer(other);
      assertEquals(await step(device, old, 4), [2, 2, 2, 2]);
      assertEquals(counts.numEncoders, 4);
      device.destroyBuffer(old.source);
      device.destroyBuffer(old.out);
      // Commands that name a destroyed buffer would spoil the run that submits them.
      const fresh = await rigOn(device);
      assertEquals(await step(device, fresh, 4), [1, 1, 1, 1]);
      assertEquals(await step(device, fresh, 4), [2, 2, 2, 2]);
    }),
);

import { assertEquals, assertRejects } from "@std/assert";
import type { Program } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { KvStorage } from "../../src/runner/kv_storage.ts";
import { StepPrograms } from "../../src/runner/step_programs.ts";
import { BoundedDevice } from "../support/bounded_device.ts";

/** The programs of a graph without calls, and the buffer for which each was made. */
async function programsOver(stepBytes: number, maxBindingBytes: number) {
  const device = new BoundedDevice(new ReferenceDevice(), maxBindingBytes);
  const storage = await KvStorage.create(device, { numSlabs: 1, slabBytes: [16] });
  const step = await device.createBuffer("step", stepBytes);
  const sampled = await device.createBuffer("sampled", 16);
  const compiledFor: DeviceBuffer[] = [];
  const graph = (_: unknown, step: DeviceBuffer) => {
    compiledFor.push(step);
    return [];
  };
  const options = { device, storage, step, sampled, layers: () => [], graph };
  return { programs: await StepPrograms.create(options), compiledFor };
}

Deno.test("StepPrograms doubles the metadata's buffer, as far as the device binds it", async () => {
  const { programs, compiledFor } = await programsOver(400, 1500);
  const first = programs.step;
  await programs.upload(new Uint32Array(100));
  assertEquals(programs.step, first);
  await programs.upload(new Uint32Array(101));
  assertEquals(programs.step.bytes, 800);
  await programs.upload(new Uint32Array(201));
  assertEquals(programs.step.bytes, 1500);
  assertEquals(compiledFor.map(({ bytes }) => bytes), [400, 800, 1500]);
  await assertRejects(() => programs.upload(new Uint32Array(376)), RangeError, "1504");
});

Deno.test("StepPrograms compiles what begins further steps once for their buffers", async () => {
  const { programs } = await programsOver(400, 2 ** 18);
  const known: Program<never>[] = [];
  const isKnown = async (numWords: number) => {
    const [program] = await programs.uploadFurther(new Uint32Array(numWords));
    const found = known.includes(program!);
    if (!found) known.push(program!);
    return found;
  };
  assertEquals([await isKnown(10), await isKnown(2 ** 15)], [false, true]);
  // Beyond the first buffer of 128 KiB, and twice as much as the device binds.
  assertEquals([await isKnown(2 ** 15 + 1), await isKnown(2 ** 16)], [false, true]);
  await programs.upload(new Uint32Array(101));
  assertEquals(await isKnown(10), false);
});

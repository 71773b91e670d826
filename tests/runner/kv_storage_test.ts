import { assertEquals, assertRejects } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { KvStorage } from "../../src/runner/kv_storage.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts } from "../support/demo_engine.ts";

const SHAPE = { numBlocks: 3, layerBlockBytes: [16, 16] };

Deno.test("KvStorage.resize() keeps the blocks below both sizes, in every layer", async () => {
  const device = new ReferenceDevice();
  const storage = await KvStorage.create(device, SHAPE);
  const fill = Uint32Array.from({ length: 12 }, (_, i) => i + 1);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, fill));
  await storage.resize(5);
  await storage.resize(2);
  await storage.resize(4);
  assertEquals(storage.numBlocks, 4);
  for (const buffer of storage.buffers) {
    const words = new Uint32Array((await device.read(buffer, 0, 64)).buffer);
    assertEquals([...words], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
  }
});

Deno.test("KvStorage.resize() keeps the blocks of layers whose blocks differ in size", async () => {
  const device = new ReferenceDevice();
  const storage = await KvStorage.create(device, { numBlocks: 2, layerBlockBytes: [4, 12] });
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [8, 24]);
  device.write(storage.buffers[1]!, 12, Uint32Array.of(1, 2, 3));
  await storage.resize(3);
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [12, 36]);
  const words = new Uint32Array((await device.read(storage.buffers[1]!, 0, 36)).buffer);
  assertEquals([...words], [0, 0, 0, 1, 2, 3, 0, 0, 0]);
});

/** A reference device that has room for `room` more buffers. */
class SmallDevice extends ReferenceDevice {
  room = Infinity;
  override createBuffer(label: string, bytes: number) {
    if (this.room-- <= 0) return Promise.reject(new RangeError(`no room for ${label}`));
    return super.createBuffer(label, bytes);
  }
}

Deno.test("KvStorage.resize() keeps size and contents when the device has no room", async () => {
  const device = new SmallDevice();
  const storage = await KvStorage.create(device, SHAPE);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, Uint32Array.of(7, 8)));
  device.room = 1;
  await assertRejects(() => storage.resize(9), RangeError, "kv 1");
  assertEquals(storage.numBlocks, 3);
  for (const buffer of storage.buffers) {
    assertEquals((await device.read(buffer, 0, 8))[4], 8);
  }
});

Deno.test("KvStorage.resize() shrinks even where one layer must keep its larger buffer", async () => {
  const device = new SmallDevice();
  const storage = await KvStorage.create(device, SHAPE);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, Uint32Array.of(7, 8)));
  device.room = 1;
  await storage.resize(2);
  assertEquals(storage.numBlocks, 2);
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [32, 48]);
  device.room = Infinity;
  await storage.resize(3);
  for (const buffer of storage.buffers) {
    assertEquals((await device.read(buffer, 0, 8))[4], 8);
  }
});

/** Greedy ids of two prompts whose pool is resized again and again while they run. */
async function resizedWhileRunning(device: Device): Promise<void> {
  const engine = await DemoEngine.create(device, { numBlocksOverride: 64 });
  const prompts = goldenPrompts().slice(0, 2);
  const outcomes = await engine.generate(
    prompts.map(({ prompt_ids }) => ({ prompt: prompt_ids })),
    async (step) => {
      if (step % 8 === 3) await engine.resizeKv([64, 200, 16, 40][(step >> 3) % 4]!);
    },
  );
  assertEquals(outcomes.map(({ tokens }) => tokens), prompts.map(({ greedy_ids }) => greedy_ids));
}

gpuTest(
  "ModelRunner.resizeKv() leaves requests in flight as they were: WebGPU",
  resizedWhileRunning,
);
Deno.test("ModelRunner.resizeKv() leaves requests in flight as they were: reference device", () =>
  resizedWhileRunning(new ReferenceDevice()));

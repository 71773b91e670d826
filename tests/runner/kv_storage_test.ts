import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { KvStorage } from "../../src/runner/kv_storage.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

const SHAPE = { numSlabs: 3, slabBytes: [16, 16] };

Deno.test("KvStorage.resize() keeps the slabs below both sizes, in every buffer", async () => {
  const device = new ReferenceDevice();
  const storage = await KvStorage.create(device, SHAPE);
  const fill = Uint32Array.from({ length: 12 }, (_, i) => i + 1);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, fill));
  await storage.resize(5);
  await storage.resize(2);
  await storage.resize(4);
  assertEquals(storage.numSlabs, 4);
  for (const buffer of storage.buffers) {
    const words = new Uint32Array((await device.read(buffer, 0, 64)).buffer);
    assertEquals([...words], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
  }
});

Deno.test("KvStorage.resize() keeps the slabs of buffers whose slabs differ in size", async () => {
  const device = new ReferenceDevice();
  const storage = await KvStorage.create(device, { numSlabs: 2, slabBytes: [4, 12] });
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [8, 24]);
  device.write(storage.buffers[1]!, 12, Uint32Array.of(1, 2, 3));
  await storage.resize(3);
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [12, 36]);
  const words = new Uint32Array((await device.read(storage.buffers[1]!, 0, 36)).buffer);
  assertEquals([...words], [0, 0, 0, 1, 2, 3, 0, 0, 0]);
});

/** A reference device with room for `room` more buffers, and for `maxBytes` in all buffers. */
class SmallDevice extends ReferenceDevice {
  room = Infinity;
  maxBytes = Infinity;
  #bytes = 0;

  override createBuffer(label: string, bytes: number) {
    if (this.room-- <= 0 || this.#bytes + bytes > this.maxBytes) {
      return Promise.reject(new RangeError(`no room for ${label}`));
    }
    this.#bytes += bytes;
    return super.createBuffer(label, bytes);
  }

  override destroyBuffer(buffer: DeviceBuffer) {
    this.#bytes -= buffer.bytes;
  }
}

Deno.test("KvStorage.resize() refuses buffers that the device cannot bind, before it touches any", async () => {
  const storage = await KvStorage.create(new ReferenceDevice(), SHAPE);
  const before = storage.buffers;
  await assertRejects(() => storage.resize(2 ** 27), RangeError, "2147483648 bytes per buffer");
  assertEquals([storage.buffers, storage.numSlabs], [before, 3]);
});

Deno.test("KvStorage.resize() keeps size and contents when the device has no room", async () => {
  const device = new SmallDevice();
  const storage = await KvStorage.create(device, SHAPE);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, Uint32Array.of(7, 8)));
  device.maxBytes = 300;
  await assertRejects(() => storage.resize(9), RangeError, "kv 1");
  assertEquals(storage.numSlabs, 3);
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [48, 48], "the first buffer had grown");
  for (const buffer of storage.buffers) {
    assertEquals((await device.read(buffer, 0, 8))[4], 8);
  }
});

Deno.test("KvStorage.resize() shrinks even where one buffer must stay larger", async () => {
  const device = new SmallDevice();
  const storage = await KvStorage.create(device, SHAPE);
  storage.buffers.forEach((buffer) => device.write(buffer, 0, Uint32Array.of(7, 8)));
  device.room = 1;
  await storage.resize(2);
  assertEquals(storage.numSlabs, 2);
  assertEquals(storage.buffers.map(({ bytes }) => bytes), [32, 48]);
  device.room = Infinity;
  await storage.resize(3);
  for (const buffer of storage.buffers) {
    assertEquals((await device.read(buffer, 0, 8))[4], 8);
  }
});

const LONG = goldenPrompts().find(({ prompt_ids: { length } }) => length > 300 && length < 440)!;

/**
 * Greedy ids of prompts while the pool is resized again and again. The first end early, so that those
 * that go on lie high in the pool and move when it shrinks.
 */
async function resizedWhileRunning(device: Device): Promise<void> {
  const engine = await DemoEngine.create(device, {
    numBlocksOverride: 64,
    maxModelLen: 128,
  });
  const short = goldenPrompts().filter(({ prompt_ids }) => prompt_ids.length < 96);
  const prompts = short.toSorted((a, b) => b.prompt_ids.length - a.prompt_ids.length).slice(0, 4);
  const maxTokens = [4, 4, 40, 40];
  const totals = { numMoved: 0, numResizes: 0 };
  const outcomes = await engine.generate(
    prompts.map(({ prompt_ids }, i) => ({
      prompt: prompt_ids,
      params: { ...GREEDY_64, maxTokens: maxTokens[i]! },
    })),
    async (step) => {
      if (step % 8 !== 3) return;
      const numInUse = engine.stats.numBlocks - engine.stats.numFreeBlocks;
      const smallest = Math.max(128 / 16, numInUse);
      const { numMoved } = await engine.resizeKv([64, smallest, 200, smallest][(step >> 3) % 4]!);
      totals.numMoved += numMoved;
      totals.numResizes++;
    },
  );
  assertEquals(
    outcomes.map(({ tokens }) => tokens),
    prompts.map(({ greedy_ids }, i) => greedy_ids.slice(0, maxTokens[i])),
  );
  assert(totals.numMoved > 0 && totals.numResizes > 4, JSON.stringify(totals));
}

gpuTest(
  "ModelRunner.resizeKv() moves and keeps the KV of requests in flight: WebGPU",
  resizedWhileRunning,
);
Deno.test("ModelRunner.resizeKv() moves and keeps the KV of requests in flight: reference device", () =>
  resizedWhileRunning(new ReferenceDevice()));

gpuTest("ModelRunner.resizeKv() carries out more moves than fit into a step", async (device) => {
  const engine = await DemoEngine.create(device, {
    numBlocksOverride: 400,
    maxNumSeqs: 3,
    maxModelLen: 448,
  });
  // The first ends before the second, which lies behind it.
  const arrival = (maxTokens: number) => ({
    prompt: LONG.prompt_ids,
    params: { ...GREEDY_64, maxTokens },
  });
  let numMoved = 0;
  const [, second] = await engine.generate([arrival(2), arrival(12)], async (step) => {
    if (step > 4 && engine.stats.numRunning === 1 && numMoved === 0) {
      numMoved = (await engine.resizeKv(448 / 16)).numMoved;
    }
  });
  assert(numMoved > 3, `${numMoved} blocks moved, 3 copies per step`);
  assertEquals(second!.tokens, LONG.greedy_ids.slice(0, 12));
});

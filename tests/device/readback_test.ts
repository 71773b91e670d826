import { assert, assertEquals, assertThrows } from "@std/assert";
import { Readback } from "../../src/device/readback.ts";

/** A staging buffer that is there at once, or when `ready` is. */
function stagingBuffers(ready: () => void = () => {}) {
  const made: GPUBuffer[] = [];
  const createBuffer = ({ size }: GPUBufferDescriptor) => {
    const staging = {
      mapAsync: () => (ready(), Promise.resolve()),
      getMappedRange: (_: number, bytes: number) => new ArrayBuffer(Math.min(bytes, size)),
      unmap: () => {},
    } as unknown as GPUBuffer;
    made.push(staging);
    return staging;
  };
  return { made, device: { createBuffer } as unknown as GPUDevice };
}

Deno.test("Readback lends two buffers that are mapped beforehand, and more only if it must", async () => {
  const { made, device } = stagingBuffers();
  const readback = await Readback.create(device, "blocking", { bytes: 256 });
  assertEquals(made.length, 2);
  const some = [readback.take(8), readback.take(8)];
  assertEquals(new Set(some), new Set(made));
  readback.giveBack(some[0]!);
  assertEquals(readback.take(8), some[0]);
  await readback.read(some[1]!, 8, 0);
  assertEquals(readback.take(8), some[1]);
  const third = readback.take(8);
  assertEquals(made.length, 3);
  // One that was never mapped has to be waited for, once.
  const words = readback.read(third, 8, 0);
  assert(words instanceof Promise);
  await words;
  assert(readback.read(third, 8, 0) instanceof Uint32Array);
});

Deno.test("Readback.take() refuses more bytes than are staged, and lends nothing", async () => {
  const readback = await Readback.create(stagingBuffers().device, "blocking", { bytes: 256 });
  assertThrows(() => readback.take(260), RangeError, "260");
  assert(readback.take(256) !== readback.take(256));
});

for (const mode of ["blocking", "awaited"] as const) {
  Deno.test(`Readback.overlappedMs counts host work before a wait, none before no wait: ${mode}`, async () => {
    let [time, busyMs] = [0, 0];
    const { device } = stagingBuffers(() => time += busyMs);
    const readback = await Readback.create(device, mode, { now: () => time });
    const step = async (hostMs: number, deviceMs: number) => {
      const submitted = time;
      time += hostMs;
      busyMs = deviceMs;
      await readback.read(readback.take(4), 4, submitted);
      return [readback.overlappedMs, readback.waitedMs];
    };
    assertEquals(await step(3, 8), [3, 8]);
    assertEquals(await step(100, 0), [3, 8]);
    assertEquals(await step(5, 1), [8, 9]);
  });
}

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { type WeightDtype, weightValues } from "../../kernels/weights/weight_dtype.ts";
import type { DeviceWeight } from "../../models/model.ts";
import { asTextures } from "../../src/runner/weight_textures.ts";
import { noise } from "../support/agreement.ts";

/** 20 rows of 12, as outputs or as gates and ups. */
const SPEC = { name: "w", tensors: ["w"], shapes: [[20, 12]] };
const GATE_UP = { name: "w", tensors: ["g", "u"], shapes: [[10, 12], [10, 12]], isGateUp: true };

/** The reference device with textures of so many texels a side, and the buffers freed on it. */
function deviceWithTextures(maxTextureSide: number, tier: "software" | "baseline" = "software") {
  const freed: DeviceBuffer[] = [];
  class WithTextures extends ReferenceDevice {
    override readonly capabilities = {
      ...new ReferenceDevice().capabilities,
      maxTextureSide,
      tier,
    };
    override destroyBuffer(buffer: DeviceBuffer) {
      freed.push(buffer);
    }
  }
  return { device: new WithTextures(), freed };
}

/** A weight of 20 outputs, or as many as are given, in one buffer. */
async function weightOn(
  device: Device,
  values: Float32Array,
  { dtype = "f32", end = 20 }: { dtype?: WeightDtype; end?: number } = {},
): Promise<DeviceWeight> {
  const buffer = await device.createBuffer("w", values.byteLength);
  device.write(buffer, 0, new Uint8Array(values.buffer));
  return { dtype, shards: [{ buffer, begin: 0, end }] };
}

Deno.test("asTextures() makes a texture of equal weights and frees the buffer", async () => {
  const { device, freed } = deviceWithTextures(64);
  const values = noise(20 * 12, 1);
  const weight = await weightOn(device, values);
  const { shards: [texture] } = await asTextures(device, SPEC, weight);
  assert(texture!.buffer.isTexture);
  assertEquals([texture!.begin, texture!.end, texture!.buffer.bytes], [0, 20, 3 * 8 * 12 * 4]);
  assertEquals(freed, [weight.shards[0]!.buffer]);
  assertEquals([...weightValues(texture!.buffer as HostBuffer, "f32", 20, 12)], [...values]);
});

Deno.test("asTextures() makes a texture of each part, with the rows behind its outputs", async () => {
  const { device, freed } = deviceWithTextures(64);
  const [gates, ups] = [noise(12 * 12, 1), noise(8 * 12, 2)];
  const [first, second] = [await weightOn(device, gates), await weightOn(device, ups)].map(
    ({ shards }) => shards[0]!.buffer,
  );
  const shards = [{ buffer: first!, begin: 0, end: 6 }, { buffer: second!, begin: 6, end: 10 }];
  const held = await asTextures(device, GATE_UP, { dtype: "f32", shards });
  assertEquals(held.shards.map(({ begin, end }) => [begin, end]), [[0, 6], [6, 10]]);
  assertEquals(freed, [first, second]);
  [gates, ups].forEach((values, i) => {
    const texture = held.shards[i]!.buffer as HostBuffer;
    assertEquals([...weightValues(texture, "f32", values.length / 12, 12)], [...values]);
  });
});

Deno.test("asTextures() leaves vectors", async () => {
  const { device } = deviceWithTextures(64);
  const norm = await weightOn(device, noise(12, 1), { end: 1 });
  assertEquals(await asTextures(device, { ...SPEC, shapes: [[12]] }, norm), norm);
});

Deno.test("asTextures() leaves what a texture cannot hold, and devices that want none", async () => {
  const small = deviceWithTextures(23);
  const none = deviceWithTextures(0);
  const gpu = deviceWithTextures(64, "baseline");
  for (const { device, freed } of [small, none, gpu]) {
    const weight = await weightOn(device, noise(20 * 12, 1));
    assertEquals(await asTextures(device, SPEC, weight), weight);
    assertEquals(freed, []);
  }
  const { device } = deviceWithTextures(64);
  const odd = await weightOn(device, noise(20 * 12, 1), { dtype: "f16" });
  assertEquals(await asTextures(device, SPEC, odd), odd);
});

Deno.test("asTextures() leaves the buffer where there is no room for a texture", async () => {
  const { device, freed } = deviceWithTextures(64);
  device.createTexture = () => Promise.reject(new RangeError("no room"));
  const weight = await weightOn(device, noise(20 * 12, 1));
  assertEquals(await asTextures(device, SPEC, weight), weight);
  assertEquals(freed, []);
});

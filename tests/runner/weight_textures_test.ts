import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { type WeightDtype, weightValues } from "../../kernels/weights/weight_dtype.ts";
import type { DeviceWeight } from "../../models/model_family.ts";
import { inPanels } from "../../src/runner/in_panels.ts";
import { noise } from "../support/agreement.ts";

/** 20 rows of 12, as outputs or as gates and ups. */
const SPEC = { name: "w", tensors: ["w"], shapes: [[20, 12]] };
const PAIRED = { name: "w", tensors: ["g", "u"], shapes: [[10, 12], [10, 12]], isPaired: true };

/** The reference device with images of so many texels a side, and the buffers freed on it. */
function deviceWithImages(maxImageSide: number, tier: "software" | "baseline" = "software") {
  const freed: DeviceBuffer[] = [];
  class WithImages extends ReferenceDevice {
    override readonly capabilities = { ...new ReferenceDevice().capabilities, maxImageSide, tier };
    override destroyBuffer(buffer: DeviceBuffer) {
      freed.push(buffer);
    }
  }
  return { device: new WithImages(), freed };
}

/** A weight of 20 outputs, or as many as are given, in one buffer. */
async function weightOn(
  device: Device,
  values: Float32Array,
  { dtype = "f32", end = 20 }: { dtype?: WeightDtype; end?: number } = {},
): Promise<DeviceWeight> {
  const buffer = await device.createBuffer("w", values.byteLength);
  device.write(buffer, 0, new Uint8Array(values.buffer));
  return { dtype, parts: [{ buffer, begin: 0, end }] };
}

Deno.test("inPanels() makes an image of equal weights and frees the buffer", async () => {
  const { device, freed } = deviceWithImages(64);
  const values = noise(20 * 12, 1);
  const weight = await weightOn(device, values);
  const { parts: [image] } = await inPanels(device, SPEC, weight);
  assert(image!.buffer.isImage);
  assertEquals([image!.begin, image!.end, image!.buffer.bytes], [0, 20, 3 * 8 * 12 * 4]);
  assertEquals(freed, [weight.parts[0]!.buffer]);
  assertEquals([...weightValues(image!.buffer as HostBuffer, "f32", 20, 12)], [...values]);
});

Deno.test("inPanels() makes an image of each part, with the rows behind its outputs", async () => {
  const { device, freed } = deviceWithImages(64);
  const [gates, ups] = [noise(12 * 12, 1), noise(8 * 12, 2)];
  const [first, second] = [await weightOn(device, gates), await weightOn(device, ups)].map(
    ({ parts }) => parts[0]!.buffer,
  );
  const parts = [{ buffer: first!, begin: 0, end: 6 }, { buffer: second!, begin: 6, end: 10 }];
  const held = await inPanels(device, PAIRED, { dtype: "f32", parts });
  assertEquals(held.parts.map(({ begin, end }) => [begin, end]), [[0, 6], [6, 10]]);
  assertEquals(freed, [first, second]);
  [gates, ups].forEach((values, i) => {
    const image = held.parts[i]!.buffer as HostBuffer;
    assertEquals([...weightValues(image, "f32", values.length / 12, 12)], [...values]);
  });
});

Deno.test("inPanels() leaves vectors", async () => {
  const { device } = deviceWithImages(64);
  const norm = await weightOn(device, noise(12, 1), { end: 1 });
  assertEquals(await inPanels(device, { ...SPEC, shapes: [[12]] }, norm), norm);
});

Deno.test("inPanels() leaves what an image cannot hold, and devices that want none", async () => {
  const small = deviceWithImages(23);
  const none = deviceWithImages(0);
  const gpu = deviceWithImages(64, "baseline");
  for (const { device, freed } of [small, none, gpu]) {
    const weight = await weightOn(device, noise(20 * 12, 1));
    assertEquals(await inPanels(device, SPEC, weight), weight);
    assertEquals(freed, []);
  }
  const { device } = deviceWithImages(64);
  const odd = await weightOn(device, noise(20 * 12, 1), { dtype: "f16" });
  assertEquals(await inPanels(device, SPEC, odd), odd);
});

Deno.test("inPanels() leaves the buffer where there is no room for an image", async () => {
  const { device, freed } = deviceWithImages(64);
  device.createImage = () => Promise.reject(new RangeError("no room"));
  const weight = await weightOn(device, noise(20 * 12, 1));
  assertEquals(await inPanels(device, SPEC, weight), weight);
  assertEquals(freed, []);
});

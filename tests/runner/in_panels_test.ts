import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { weightValues } from "../../kernels/weight_dtype.ts";
import { inPanels } from "../../src/runner/in_panels.ts";
import { noise } from "../support/agreement.ts";

const MATRIX = { dtype: "f32", rows: 20, columns: 12 } as const;

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

async function matrixOn(device: Device, values: Float32Array): Promise<DeviceBuffer> {
  const buffer = await device.createBuffer("w", values.byteLength);
  device.write(buffer, 0, new Uint8Array(values.buffer));
  return buffer;
}

Deno.test("inPanels() makes an image of equal weights and frees the buffer", async () => {
  const { device, freed } = deviceWithImages(64);
  const values = noise(20 * 12, 1);
  const buffer = await matrixOn(device, values);
  const image = await inPanels(device, buffer, MATRIX);
  assert(image.isImage);
  assertEquals(image.bytes, 3 * 8 * 12 * 4);
  assertEquals(freed, [buffer]);
  assertEquals([...weightValues(image as HostBuffer, "f32", 20, 12)], [...values]);
});

Deno.test("inPanels() leaves what an image cannot hold, and devices that want none", async () => {
  const small = deviceWithImages(23);
  const none = deviceWithImages(0);
  const gpu = deviceWithImages(64, "baseline");
  for (const { device, freed } of [small, none, gpu]) {
    const buffer = await matrixOn(device, noise(20 * 12, 1));
    assertEquals(await inPanels(device, buffer, MATRIX), buffer);
    assertEquals(freed, []);
  }
  const { device } = deviceWithImages(64);
  const odd = await matrixOn(device, noise(20 * 12, 1));
  assertEquals(await inPanels(device, odd, { dtype: "f16", rows: 20, columns: 12 }), odd);
});

Deno.test("inPanels() leaves the buffer where there is no room for an image", async () => {
  const { device, freed } = deviceWithImages(64);
  device.createImage = () => Promise.reject(new RangeError("no room"));
  const buffer = await matrixOn(device, noise(20 * 12, 1));
  assertEquals(await inPanels(device, buffer, MATRIX), buffer);
  assertEquals(freed, []);
});

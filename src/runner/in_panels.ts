import { type PanelExtent, panelExtent, panelWeightsCall } from "../../kernels/panel_weights.ts";
import { tuningFor } from "../../kernels/tuning.ts";
import type { WeightDtype } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";

/**
 * The matrix as its device reads it fastest: an image in panels in place of `buffer`, which is freed then,
 * or `buffer` itself, also where there is no room for both at a time.
 */
export async function inPanels(
  device: Device,
  buffer: DeviceBuffer,
  matrix: { dtype: WeightDtype; rows: number; columns: number },
): Promise<DeviceBuffer> {
  if (!tuningFor(device.capabilities).panelsWeights) return buffer;
  const extent = panelExtent(matrix.dtype, matrix.rows, matrix.columns);
  const image = extent && await createImage(device, buffer.label, extent);
  if (image === undefined) return buffer;
  const program = await device.compile([panelWeightsCall(matrix, { w: buffer, out: image })]);
  await device.run(program, undefined, { buffer, bytes: 4 });
  device.destroyBuffer(buffer);
  return image;
}

async function createImage(device: Device, label: string, { width, height }: PanelExtent) {
  if (Math.max(width, height) > device.capabilities.maxImageSide) return undefined;
  try {
    return await device.createImage(label, width, height);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

import {
  type PanelExtent,
  panelExtent,
  panelWeightsCall,
} from "../../kernels/weights/panel_weights.ts";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import type { WeightPart } from "../../kernels/weights/weight_parts.ts";
import type { DeviceWeight, WeightSpec } from "../../models/model_family.ts";
import type { WeightDtype } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { weightShape } from "./weight_buffers.ts";

/**
 * A weight as its device reads it fastest, called once its buffers are filled: matrices as images in
 * panels in place of buffers, which are freed then, or as they are, also where there is no room for both
 * at a time. Each part is an image of its own.
 */
export async function inPanels(
  device: Device,
  spec: WeightSpec,
  weight: DeviceWeight,
): Promise<DeviceWeight> {
  const { dtype } = weight;
  const isVector = spec.shapes[0]!.length < 2;
  if (isVector || !tuningFor(device.capabilities).panelsWeights) return weight;
  const { rowsPerOutput, columns } = weightShape(spec);
  const parts: WeightPart[] = [];
  for (const { buffer, begin, end } of weight.parts) {
    const matrix = { dtype, rows: (end - begin) * rowsPerOutput, columns };
    parts.push({ buffer: await partInPanels(device, buffer, matrix), begin, end });
  }
  return { dtype, parts };
}

async function partInPanels(
  device: Device,
  buffer: DeviceBuffer,
  matrix: { dtype: WeightDtype; rows: number; columns: number },
): Promise<DeviceBuffer> {
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

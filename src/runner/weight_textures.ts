import {
  type PanelExtent,
  panelExtent,
  panelWeightsCall,
} from "../../kernels/weights/panel_weights.ts";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import type { WeightShard } from "../../kernels/weights/weight_shards.ts";
import type { DeviceWeight, WeightSpec } from "../../models/model.ts";
import type { WeightDtype } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { isVector, weightShape } from "./weight_buffers.ts";

/**
 * Moves a weight's matrices from filled buffers to textures in panels of rows, where the device
 * reads these faster, and frees the buffers. A buffer stays where the device has no room for both
 * at a time. Each shard is a texture of its own.
 */
export async function asTextures(
  device: Device,
  spec: WeightSpec,
  weight: DeviceWeight,
): Promise<DeviceWeight> {
  const { dtype } = weight;
  if (isVector(spec) || !tuningFor(device.capabilities).usesWeightTextures) return weight;
  const { rowsPerOutput, columns } = weightShape(spec);
  const shards: WeightShard[] = [];
  for (const shard of weight.shards) {
    const { begin, end } = shard;
    const rows = (end - begin) * rowsPerOutput;
    const matrix = { dtype: shard.dtype ?? dtype, rows, columns };
    shards.push({ ...shard, buffer: await asTexture(device, shard.buffer, matrix) });
  }
  return { dtype, shards };
}

async function asTexture(
  device: Device,
  buffer: DeviceBuffer,
  matrix: { dtype: WeightDtype; rows: number; columns: number },
): Promise<DeviceBuffer> {
  const extent = panelExtent(matrix.dtype, matrix.rows, matrix.columns);
  const texture = extent && await createTexture(device, buffer.label, extent);
  if (texture === undefined) return buffer;
  const program = await device.compile([panelWeightsCall(matrix, { w: buffer, out: texture })]);
  await device.run(program, undefined, { buffer, bytes: 4 });
  device.destroyBuffer(buffer);
  return texture;
}

async function createTexture(device: Device, label: string, { width, height }: PanelExtent) {
  if (Math.max(width, height) > device.capabilities.maxTextureSide) return undefined;
  try {
    return await device.createTexture(label, width, height);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

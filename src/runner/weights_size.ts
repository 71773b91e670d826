import { panelExtent } from "../../kernels/weights/panel_weights.ts";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import { StartupError } from "../core/errors.ts";
import type { Quantization } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import { deviceTypes } from "./device_dtypes.ts";
import type { WeightSource } from "./upload_weights.ts";
import { isVector, type PlannedShard, planShards } from "./weight_buffers.ts";

/** What of a device decides how weights lie on it. */
export type WeightDevice = Pick<Device, "capabilities" | "maxBindingBytes">;

/**
 * Bytes that weights take on a device, as {@link uploadWeights} places them.
 *
 * @throws {StartupError} for a row that the device cannot bind.
 */
export function weightsSize(
  sources: readonly WeightSource[],
  quantization: Quantization | undefined,
  device: WeightDevice,
): number {
  const { usesWeightTextures } = tuningFor(device.capabilities);
  return sources.reduce((sum, { spec, tensors }) => {
    const types = deviceTypes(spec, tensors, quantization);
    const shards = shardsOf(() => planShards(spec, types, device.maxBindingBytes));
    const isTexture = usesWeightTextures && !isVector(spec);
    return sum + shards.reduce((bytes, shard) => bytes + shardBytes(shard, isTexture, device), 0);
  }, 0);
}

function shardBytes(
  { dtype, rows, columns, bytes }: PlannedShard,
  isTexture: boolean,
  { capabilities }: WeightDevice,
): number {
  const extent = isTexture ? panelExtent(dtype, rows, columns) : undefined;
  if (extent === undefined) return bytes;
  const { width, height } = extent;
  return Math.max(width, height) > capabilities.maxTextureSide ? bytes : 16 * width * height;
}

function shardsOf(plan: () => PlannedShard[]): PlannedShard[] {
  try {
    return plan();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new StartupError(`The weights do not fit on this device: ${error.message}`);
  }
}

import type { WeightDtype } from "../../kernels/weights/weight_dtype.ts";
import type { DeviceWeight, Model } from "../../models/model.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { weightShape } from "../../src/runner/weight_buffers.ts";

/**
 * The weights of a model, all of them one buffer and none in shards: for graphs that are not run.
 */
export function wholeWeights(
  { weights }: Model,
  { buffer, dtype }: { buffer: DeviceBuffer; dtype: WeightDtype },
): (name: string) => DeviceWeight {
  const ends = new Map(weights.map((spec) => [spec.name, weightShape(spec).numOutputs]));
  return (name) => ({ shards: [{ buffer, begin: 0, end: ends.get(name)! }], dtype });
}

import type { WeightDtype } from "../../kernels/weights/weight_dtype.ts";
import type { ModelConfig } from "../../models/model_config.ts";
import type { DeviceWeight } from "../../models/model_family.ts";
import { modelFamily } from "../../models/registry.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { weightShape } from "../../src/runner/weight_buffers.ts";

/**
 * The weights of a model, all of them one buffer and none in shards: for graphs that are not run.
 */
export function wholeWeights(
  config: ModelConfig,
  { buffer, dtype }: { buffer: DeviceBuffer; dtype: WeightDtype },
): (name: string) => DeviceWeight {
  const specs = modelFamily(config.modelType).weights(config);
  const ends = new Map(specs.map((spec) => [spec.name, weightShape(spec).numOutputs]));
  return (name) => ({ shards: [{ buffer, begin: 0, end: ends.get(name)! }], dtype });
}

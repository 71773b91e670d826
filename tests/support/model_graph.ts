import type { StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { WeightDtype } from "../../kernels/weights/weight_dtype.ts";
import type { Activations, Model } from "../../models/model.ts";
import type { KvCacheDtype } from "../../src/core/engine_config.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { forwardGraph } from "../../src/runner/build_runner.ts";
import { layerKvs } from "../../src/runner/kv_memory.ts";
import { wholeWeights } from "./whole_weights.ts";

/**
 * All calls of a model's step under a tuning, for graphs that are not run: every matrix is `matrix`,
 * every other buffer one and the same.
 */
export function modelGraph(
  model: Model,
  { matrix = { label: "any", bytes: 4 }, dtype, kvDtype = "f16", tuning }: {
    matrix?: DeviceBuffer;
    dtype: WeightDtype;
    kvDtype?: KvCacheDtype;
    tuning: Tuning;
  },
): KernelCall<StepDims>[] {
  const buffer = { label: "any", bytes: 4 };
  const anyBuffer: ProxyHandler<Record<string, DeviceBuffer>> = { get: () => buffer };
  const declared = new Proxy<Record<string, DeviceBuffer>>({}, anyBuffer);
  const activations = new Proxy({ declared } as unknown as Activations, {
    get: (_, name) => name === "declared" ? declared : buffer,
  });
  const settings = { blockSize: 16, kvCacheDtype: kvDtype, kvCacheF16EdgeLayers: false };
  const weight = wholeWeights(model, { buffer: matrix, dtype });
  return forwardGraph(
    { model, weights: { weight, bytes: 4, numParameters: 1 } },
    { activations, kv: layerKvs(model, settings, model.caches.map(() => buffer)) },
    tuning,
  );
}

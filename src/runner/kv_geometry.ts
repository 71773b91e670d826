import type { Model } from "../../models/model.ts";
import { invariant } from "../base/invariant.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { kvFormat, type KvGeometry } from "../core/kv_layout.ts";

/** How a model's KV is stored where all its layers keep heads of one size. */
export function kvGeometry(
  { caches }: Pick<Model, "caches">,
  engine: Pick<EngineConfig, "kvCacheDtype" | "kvCacheF16EdgeLayers">,
): KvGeometry {
  const [heads, ...others] = caches.map((cache) => {
    const hasHeads = cache !== undefined && cache.kind !== "state";
    invariant(hasHeads, "a layer keeps no keys and values of its own");
    return { numKvHeads: cache.numKvHeads, headDim: cache.headDim };
  });
  const { numKvHeads, headDim } = heads!;
  invariant(
    others.every((other) => other.numKvHeads === numKvHeads && other.headDim === headDim),
    "layers keep heads of several sizes",
  );
  return { numLayers: caches.length, numKvHeads, headDim, ...kvFormat(engine) };
}

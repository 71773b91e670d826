import type { CacheSpec } from "../core/cache_group.ts";
import type { KvCacheDtype } from "../core/engine_config.ts";
import { type KvFormat, layerBytesPerToken, layerDtype } from "../core/kv_layout.ts";
import { groupsOf, type ModelShape } from "./model_shape.ts";

/** How many of a group's layers are of which dtype. */
export interface LayersOfDtype {
  readonly numLayers: number;
  readonly dtype: KvCacheDtype;
}

/**
 * The dtypes of each group's layers: one entry, or two where the model's first or last layer
 * differ.
 */
export function dtypesByGroup(
  shape: Pick<ModelShape, "caches">,
  format: KvFormat,
): LayersOfDtype[][] {
  const last = shape.caches.length - 1;
  return groupsOf(shape).map(({ layers }) => {
    const numEdges = layers.filter((layer) => layer === 0 || layer === last).length;
    return [
      { numLayers: layers.length - numEdges, dtype: layerDtype(format, false) },
      { numLayers: numEdges, dtype: layerDtype(format, true) },
    ].filter(({ numLayers }) => numLayers > 0);
  });
}

/**
 * Bytes that one token position takes in one layer: K and V of all heads, with the scales. None in
 * a layer whose state no position makes larger.
 */
export function layerBytes(spec: CacheSpec, dtype: KvCacheDtype): number {
  return spec.kind === "state" ? 0 : layerBytesPerToken({ ...spec, dtype });
}

/** Bytes that one token position takes in all layers of each group. */
export function bytesPerTokenByGroup(
  shape: Pick<ModelShape, "caches">,
  format: KvFormat,
): number[] {
  const groups = groupsOf(shape);
  return dtypesByGroup(shape, format).map((layers, index) =>
    layers.reduce(
      (sum, { numLayers, dtype }) => sum + numLayers * layerBytes(groups[index]!, dtype),
      0,
    )
  );
}

/** Bytes that one token position takes in all layers of a model. */
export function bytesPerToken(shape: Pick<ModelShape, "caches">, format: KvFormat): number {
  return bytesPerTokenByGroup(shape, format).reduce((sum, bytes) => sum + bytes, 0);
}

import type { KvCacheDtype } from "../core/engine_config.ts";
import { type KvFormat, layerBytesPerToken, layerDtype } from "../core/kv_layout.ts";
import type { LayerGroup, ModelShape } from "./model_shape.ts";

/** How many of a group's layers are of which dtype. */
export interface LayersOfDtype {
  readonly numLayers: number;
  readonly dtype: KvCacheDtype;
}

/**
 * The dtypes of each group's layers: one entry, or two where the model's first or last layer
 * differ.
 */
export function dtypesByGroup(shape: ModelShape, format: KvFormat): LayersOfDtype[][] {
  const { groups, lastGroup = groups.length - 1 } = shape;
  return groups.map(({ numLayers }, index) => {
    const numEdges = Math.min(numLayers, Number(index === 0) + Number(index === lastGroup));
    return [
      { numLayers: numLayers - numEdges, dtype: layerDtype(format, false) },
      { numLayers: numEdges, dtype: layerDtype(format, true) },
    ].filter(({ numLayers }) => numLayers > 0);
  });
}

/**
 * Bytes that one token position takes in one layer of a group: K and V of all heads, with the
 * scales.
 */
export function layerBytes(
  group: Pick<LayerGroup, "numKvHeads" | "headDim">,
  dtype: KvCacheDtype,
): number {
  return layerBytesPerToken({ ...group, dtype });
}

/** Bytes that one token position takes in all layers of each group. */
export function bytesPerTokenByGroup(shape: ModelShape, format: KvFormat): number[] {
  return dtypesByGroup(shape, format).map((layers, index) =>
    layers.reduce(
      (sum, { numLayers, dtype }) => sum + numLayers * layerBytes(shape.groups[index]!, dtype),
      0,
    )
  );
}

/** Bytes that one token position takes in all layers of a model. */
export function bytesPerToken(shape: ModelShape, format: KvFormat): number {
  return bytesPerTokenByGroup(shape, format).reduce((sum, bytes) => sum + bytes, 0);
}

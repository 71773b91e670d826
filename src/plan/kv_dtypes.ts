import { type KvGeometry, layerBytesPerToken } from "../core/kv_layout.ts";
import type { KvCacheDtype } from "../core/engine_config.ts";
import type { LayerGroup, ModelShape } from "./model_shape.ts";

/** Element types of keys and values that a plan compares. */
export type PlannedDtype = KvCacheDtype | "int8" | "fp8" | "int4";

/** In the order in which a plan lists them. */
export const PLANNED_DTYPES: readonly PlannedDtype[] = ["f16", "f32", "int8", "fp8", "int4"];

const SERVED: ReadonlySet<PlannedDtype> = new Set<KvCacheDtype>(["f16", "f32"]);

/** Whether the server can run with it, or it is only planned for. */
export function isServed(dtype: PlannedDtype): dtype is KvCacheDtype {
  return SERVED.has(dtype);
}

/** Bits of one element where a scale in f32 stands beside each head's key and each head's value. */
const QUANTIZED_BITS: Readonly<Record<Exclude<PlannedDtype, KvCacheDtype>, number>> = {
  int8: 8,
  fp8: 8,
  int4: 4,
};
const SCALE_BYTES = 4;

/**
 * Bytes that one token position takes in one layer of a group: K and V of all heads, with the scales
 * where the type is quantized. At 128 elements per head, int8 holds 1.94 times and int4 3.76 times
 * what f16 does.
 */
export function layerBytes(group: Omit<LayerGroup, "numLayers" | "kind">, dtype: PlannedDtype) {
  if (isServed(dtype)) {
    const geometry: Omit<KvGeometry, "numLayers"> = { ...group, dtype };
    return layerBytesPerToken(geometry);
  }
  const vectorBytes = Math.ceil(group.headDim * QUANTIZED_BITS[dtype] / 8) + SCALE_BYTES;
  return 2 * group.numKvHeads * vectorBytes;
}

/** Bytes that one token position takes in all layers of a group. */
export function groupBytes(group: LayerGroup, dtype: PlannedDtype): number {
  return group.numLayers * layerBytes(group, dtype);
}

/** Bytes that one token position takes in all layers of a model. */
export function bytesPerToken({ groups }: ModelShape, dtype: PlannedDtype): number {
  return groups.reduce((sum, group) => sum + groupBytes(group, dtype), 0);
}

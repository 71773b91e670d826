import type { KvShape, LayerKv } from "../../kernels/kv/kv_cache.ts";
import type { Model } from "../../models/model.ts";
import { type CacheGroup, groupLayers, type PoolGroups } from "../core/cache_group.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { kvFormat, layerDtypes } from "../core/kv_layout.ts";
import { readSpan } from "../core/read_span.ts";
import { groupMemory, type KvBufferLayout, planKvBuffers } from "../core/kv_buffers.ts";
import type { DeviceBuffer } from "../device/kernel.ts";

/** The settings that decide how a model's KV lies in memory. */
export type KvSettings = Pick<
  EngineConfig,
  "blockSize" | "kvCacheDtype" | "kvCacheF16EdgeLayers"
>;

/** How a model's KV lies in memory: its cache groups, and their layers in KV buffers. */
export interface KvMemory {
  readonly groups: readonly CacheGroup[];
  readonly layout: KvBufferLayout;
}

/** The memory of a model's KV. */
export function kvMemory({ caches }: Pick<Model, "caches">, settings: KvSettings): KvMemory {
  const groups = groupLayers(caches);
  const sizes = { numLayers: caches.length, blockSize: settings.blockSize };
  return { groups, layout: planKvBuffers(groupMemory(groups, kvFormat(settings), sizes)) };
}

/** How the block manager shares the pool among a model's groups. */
export function poolGroups({ groups, layout }: KvMemory): PoolGroups {
  const isPlain = groups.length === 1 && groups[0]!.kind === "full";
  return isPlain ? {} : { groups, blocksPerSlab: layout.blocksPerSlab };
}

/**
 * Each layer's KV as kernels take it, first to last; `undefined` for a layer that keeps no keys and
 * values of its own.
 *
 * @param kvBuffers the pool's, in order.
 */
export function layerKvs(
  model: Pick<Model, "caches">,
  settings: KvSettings,
  kvBuffers: readonly DeviceBuffer[],
): (LayerKv | undefined)[] {
  const { groups, layout: { layerLayouts } } = kvMemory(model, settings);
  const dtypes = layerDtypes({ ...kvFormat(settings), numLayers: model.caches.length });
  return model.caches.map((spec, layer) => {
    const layout = layerLayouts.get(layer);
    if (spec === undefined || spec.kind === "state" || layout === undefined) return undefined;
    const { numKvHeads: G, headDim: D } = spec;
    const { window: WINDOW, isChunked: IS_CHUNKED, numSinkTokens: NUM_SINKS } = readSpan(
      groups[layout.group]!,
    );
    const shape: KvShape = {
      ...{ G, D, BLOCK_SIZE: settings.blockSize, KV_DTYPE: dtypes[layer]! },
      ...{
        GROUP: layout.group,
        STRIDE: layout.strideBytes / 4,
        LAYER_OFFSET: layout.offsetBytes / 4,
      },
      ...{ WINDOW, IS_CHUNKED, NUM_SINKS },
    };
    return { buffer: kvBuffers[layout.buffer]!, shape };
  });
}

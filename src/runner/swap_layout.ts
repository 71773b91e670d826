import type { Model } from "../../models/model.ts";
import { formatByteSize } from "../base/byte_size.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { kvFormat } from "../core/kv_layout.ts";
import { groupMemory } from "../core/kv_buffers.ts";
import type { SwapSpace } from "../core/swap_space.ts";
import { kvMemory, type KvSettings } from "./kv_memory.ts";

/** What a block of a group has in one KV buffer: `bytes` from byte `id * strideBytes` on. */
export interface BlockPart {
  /** Index of the KV buffer. */
  readonly buffer: number;
  readonly strideBytes: number;
  readonly bytes: number;
}

/** How blocks lie on the device and in host memory. */
export interface SwapLayout {
  readonly space: SwapSpace;
  readonly blocksPerSlab: readonly number[];
  /** Per group, the parts of its blocks, which lie one behind the other in host memory. */
  readonly parts: readonly (readonly BlockPart[])[];
  /** Bytes of a slab in host memory. */
  readonly slabBytes: number;
}

/**
 * How `--swap-memory-bytes` is cut for a model; undefined where there is none.
 *
 * @throws {StartupError} when it has no room for one slab, or the host has not so much.
 */
export function swapLayout(
  model: Pick<Model, "caches">,
  config: KvSettings & Pick<EngineConfig, "swapMemoryBytes">,
  freeBytes: number = Infinity,
): SwapLayout | undefined {
  const { swapMemoryBytes } = config;
  if (swapMemoryBytes === undefined) return undefined;
  const parts = blockParts(model, config);
  const { blocksPerSlab } = kvMemory(model, config).layout;
  const blockBytes = parts.map((ofGroup) => ofGroup.reduce((sum, { bytes }) => sum + bytes, 0));
  const slabBytes = Math.max(...blockBytes.map((bytes, group) => bytes * blocksPerSlab[group]!));
  const numSlabs = Math.floor(swapMemoryBytes / slabBytes);
  if (numSlabs < 1) {
    throw new StartupError(
      `--swap-memory-bytes is ${swapMemoryBytes}, but one block of KV takes ${slabBytes}; raise it, ` +
        `or leave it out`,
    );
  }
  if (swapMemoryBytes > freeBytes) {
    throw new StartupError(
      `--swap-memory-bytes is ${formatByteSize(swapMemoryBytes)}, but this machine has ` +
        `${formatByteSize(freeBytes)} of free memory; lower it`,
    );
  }
  return { space: { numSlabs, blockBytes }, blocksPerSlab, parts, slabBytes };
}

/** Its size in a line for people. */
export function swapText({ space: { numSlabs }, slabBytes }: SwapLayout): string {
  return `swap: ${formatByteSize(numSlabs * slabBytes)} of host memory for ${numSlabs} blocks of ` +
    `preempted requests`;
}

/** Per group, what its blocks have in each KV buffer: the parts of its layers there. */
function blockParts(model: Pick<Model, "caches">, settings: KvSettings): BlockPart[][] {
  const { groups, layout } = kvMemory(model, settings);
  const sizes = { numLayers: model.caches.length, blockSize: settings.blockSize };
  return groupMemory(groups, kvFormat(settings), sizes).map(({ layers, blockBytes }) => {
    const byBuffer = new Map<number, BlockPart>();
    layers.forEach((layer, i) => {
      const { buffer, strideBytes, offsetBytes } = layout.layerLayouts.get(layer)!;
      const bytes = Math.max(byBuffer.get(buffer)?.bytes ?? 0, offsetBytes + blockBytes[i]!);
      byBuffer.set(buffer, { buffer, strideBytes, bytes });
    });
    return [...byBuffer.values()];
  });
}

import { findKvDamageCall, NO_DAMAGE } from "../../kernels/kv/find_kv_damage.ts";
import { type LayerKv, spanOf } from "../../kernels/kv/kv_cache.ts";
import type { DrawFailure, KvDamage } from "../core/batch.ts";
import { firstRead } from "../core/read_span.ts";
import { KernelError } from "../core/errors.ts";
import type { Device, Program } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";

/** The chunk whose draw failed. */
export interface FailedChunk {
  /** Its first position. */
  readonly start: number;
  /** Tokens of its sequence up to its end. */
  readonly numTokens: number;
}

/**
 * Searches the KV of a sequence for numbers that are not finite, after a draw without a token: what
 * its last rows read, in every layer.
 *
 * Nothing is made before it is asked for the first time; from then on it holds one word per layer.
 */
export class KvDiagnosis {
  readonly #device: Device;
  #found: DeviceBuffer | undefined;

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Describes the failure of a sequence. Where the device has no room for the diagnosis, or cannot
   * compile it, the description is empty: one sequence failed, not the engine. Damage at the first
   * position that a window still reads may stem from an earlier one, so that no token of the
   * sequence counts as sound.
   *
   * @param step metadata on the device; its first sequence is the one that failed.
   * @param kv where each layer's KV lies, first to last.
   * @throws {DeviceLostError} when the device is gone.
   */
  async failure(
    { start, numTokens }: FailedChunk,
    step: DeviceBuffer,
    kv: readonly (LayerKv | undefined)[],
  ): Promise<DrawFailure> {
    try {
      const words = await this.#find(step, kv);
      const kvDamage = damageOf(words, kv);
      if (kvDamage === undefined) return { numSoundTokens: numTokens };
      const isFirst = isFirstOfAll(words, kv, start);
      return { numSoundTokens: isFirst ? kvDamage.position : 0, kvDamage };
    } catch (error) {
      if (error instanceof RangeError || error instanceof KernelError) return { numSoundTokens: 0 };
      throw error;
    }
  }

  async #find(
    step: DeviceBuffer,
    kv: readonly (LayerKv | undefined)[],
  ): Promise<Uint32Array> {
    const bytes = 4 * kv.length;
    const found = this.#found ??= await this.#device.createBuffer("kv damage", bytes);
    this.#device.write(found, 0, new Uint32Array(kv.length).fill(NO_DAMAGE));
    // Pipelines are cached by the device; bind groups are made anew, since the pool may have moved.
    const program: Program<unknown> = await this.#device.compile(
      kv.flatMap((layer, LAYER) =>
        layer === undefined
          ? []
          : findKvDamageCall({ ...layer.shape, LAYER }, { step, kv: layer.buffer, found })
      ),
    );
    return await this.#device.run(program, undefined, { buffer: found, bytes });
  }
}

/** Whether no damage lies at the first position that a layer reads, with positions before it. */
function isFirstOfAll(
  words: Uint32Array,
  layers: readonly (LayerKv | undefined)[],
  start: number,
): boolean {
  return layers.every((layer, i) => {
    const first = layer === undefined ? 0 : firstRead(spanOf(layer.shape), start);
    return first === 0 || words[i] === NO_DAMAGE || words[i]! >>> 1 !== first;
  });
}

function damageOf(
  words: Uint32Array,
  layers: readonly (LayerKv | undefined)[],
): KvDamage | undefined {
  const layer = words.findIndex((word) => word !== NO_DAMAGE);
  if (layer === -1) return undefined;
  const position = words.reduce((first, word) => Math.min(first, word >>> 1), Infinity);
  return {
    position,
    layer,
    dtype: layers[layer]!.shape.KV_DTYPE,
    isTooLarge: words[layer]! % 2 === 0,
  };
}

import { writeSafetensors } from "../../bench/peers/safetensors_writer.ts";
import { f32ToF16Bits } from "../../src/device/half.ts";

/** A model whose weights are hashes, and what a script in `tests/golden` computed of it. */
export interface HashedModel {
  readonly config: Readonly<Record<string, number | string | boolean>>;
  /** Names and shapes, in the order in which the script numbers them. */
  readonly tensors: readonly (readonly [name: string, shape: readonly number[]])[];
}

/**
 * Writes the checkpoint of `model` to `dir`, the weights those of `tests/golden/qwen3_golden.py`.
 */
export function writeHashedModel(dir: string, { config, tensors }: HashedModel): Promise<void> {
  return writeSafetensors(
    dir,
    { name: "hashed", config },
    tensors.map(([name, shape], number) => ({ name, shape, values: () => hashed(number, shape) })),
  );
}

/** f16 bits of a tensor's elements, all of which are exact. */
function hashed(number: number, shape: readonly number[]): Uint16Array<ArrayBuffer> {
  const bits = new Uint16Array(shape.reduce((a, b) => a * b));
  for (let i = 0; i < bits.length; i++) {
    const hash = mix(i + number * 2 ** 20);
    const value = shape.length === 1
      ? 1 + ((hash >>> 22) - 512) / 1024
      : ((hash >>> 21) - 1024) / 4096;
    bits[i] = f32ToF16Bits(value);
  }
  return bits;
}

/** The finalizer of MurmurHash3. */
function mix(n: number): number {
  let h = n | 0;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

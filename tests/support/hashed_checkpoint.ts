import { writeSafetensors } from "../../bench/peers/safetensors_writer.ts";
import { f32ToF16Bits } from "../../src/base/float_bits.ts";

/** A model whose weights are hashes, and what a script in `tests/golden` computed of it. */
export interface HashedModel {
  readonly config: Readonly<Record<string, unknown>>;
  /** In the order in which the script numbers them. */
  readonly tensors: readonly HashedTensor[];
}

/**
 * A tensor whose elements are spread evenly over `[center - spread, center + spread)`: unless given,
 * `[-1/4, 1/4)` in a matrix and `[1/2, 3/2)` in a vector.
 */
export type HashedTensor = readonly [
  name: string,
  shape: readonly number[],
  center?: number,
  spread?: number,
];

/** Writes the checkpoint of `model` to `dir`, the weights those of the scripts in `tests/golden`. */
export function writeHashedModel(dir: string, { config, tensors }: HashedModel): Promise<void> {
  return writeSafetensors(
    dir,
    { config },
    tensors.map((tensor, number) => ({
      name: tensor[0],
      shape: tensor[1],
      values: () => hashed(number, tensor),
    })),
  );
}

/** f16 bits of a tensor's elements, all of which are exact. */
function hashed(
  number: number,
  [, shape, center = shape.length === 1 ? 1 : 0, spread = shape.length === 1 ? 1 / 2 : 1 / 4]:
    HashedTensor,
): Uint16Array<ArrayBuffer> {
  const bits = new Uint16Array(shape.reduce((a, b) => a * b));
  // Beside 0, f16 has a bit less for what is added to the center.
  const numHashBits = center === 0 ? 11 : 10;
  for (let i = 0; i < bits.length; i++) {
    const hash = mix(i + number * 2 ** 20) >>> (32 - numHashBits);
    bits[i] = f32ToF16Bits(center + spread * (hash / 2 ** (numHashBits - 1) - 1));
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

import type { DeviceWeight, Model } from "../models/model.ts";
import type { WeightDtype } from "../src/core/weight_format.ts";
import type { Device } from "../src/device/device.ts";
import { type DeviceBuffer, type Kernel, kernelCall } from "../src/device/kernel.ts";
import { asTextures } from "../src/runner/weight_textures.ts";
import type { UploadedWeights } from "../src/runner/upload_weights.ts";
import { createWeight, weightBytes } from "../src/runner/weight_buffers.ts";

/** Lanes per workgroup of the fill, and most workgroups along x. */
const LANES = 64;
const MAX_GROUPS = 65_535;

type FillShape = Readonly<{ WORDS: number; GROUPS: number; SEED: number }>;

/** Fills a buffer with f16 in [-0.0625, 0.0625), each word a hash (Wang 2007) of its index and a seed. */
export const fillRandom: Kernel<FillShape> = {
  name: "fill_random",
  source: `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
fn hash(seed: u32) -> u32 {
  var h = (seed ^ 61u) ^ (seed >> 16u);
  h *= 9u;
  h ^= h >> 4u;
  h *= 0x27d4eb2du;
  return h ^ (h >> 15u);
}
@compute @workgroup_size(${LANES})
fn fill_random(@builtin(global_invocation_id) id: vec3<u32>) {
  let word = id.y * \${GROUPS * ${LANES}}u + id.x;
  if (word >= \${WORDS}u) { return; }
  let bits = hash(word ^ \${SEED}u);
  let pair = vec2(f32(bits & 0x7ffu), f32((bits >> 11u) & 0x7ffu));
  out[word] = pack2x16float((pair - 1024.0) / 16384.0);
}`,
  bindings: [{ name: "out", access: "read_write" }],
  reference({ out }, { WORDS, SEED }) {
    const pair = new Float16Array(2);
    const bits = new Uint32Array(pair.buffer);
    for (let word = 0; word < WORDS; word++) {
      const hash = wangHash((word ^ SEED) >>> 0);
      pair[0] = ((hash & 0x7ff) - 1024) / 16384;
      pair[1] = (((hash >>> 11) & 0x7ff) - 1024) / 16384;
      out!.u32[word] = bits[0]!;
    }
  },
};

function wangHash(seed: number): number {
  let h = (seed ^ 61) ^ (seed >>> 16);
  h = Math.imul(h, 9);
  h ^= h >>> 4;
  h = Math.imul(h, 0x27d4eb2d);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Fills a buffer on the device; nothing is uploaded. */
export async function fillBuffer(
  device: Device,
  buffer: DeviceBuffer,
  seed: number,
): Promise<void> {
  const words = Math.floor(buffer.bytes / 4);
  const groups = Math.min(MAX_GROUPS, Math.ceil(words / LANES));
  const program = await device.compile([kernelCall(fillRandom, {
    constants: { WORDS: words, GROUPS: groups, SEED: seed },
    buffers: { out: buffer },
    workgroups: () => [groups, Math.ceil(words / LANES / groups), 1] as const,
  })]);
  await device.run(program, undefined, { buffer, bytes: 4 });
}

/**
 * Weights of a model made on the device: random matrices of `dtype`, and norms of one. Of a quantized
 * matrix the codes are random bits, and the scales small numbers of either sign.
 *
 * @throws {RangeError} when the device has no room; what was made is freed.
 */
export async function randomWeights(
  device: Device,
  model: Model,
  dtype: WeightDtype = "f16",
): Promise<UploadedWeights> {
  const weights = new Map<string, DeviceWeight>();
  let [bytes, numParameters] = [0, 0];
  try {
    for (const spec of model.weights) {
      const count = spec.shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0);
      const isVector = spec.shapes[0]!.length === 1;
      let weight = await createWeight(device, spec, isVector ? "f32" : dtype);
      weights.set(spec.name, weight);
      for (const [i, { buffer }] of weight.shards.entries()) {
        if (isVector) device.write(buffer, 0, ones(count));
        else await fillBuffer(device, buffer, weights.size + (i << 16));
      }
      weight = await asTextures(device, spec, weight);
      weights.set(spec.name, weight);
      bytes += weightBytes(weight);
      numParameters += count;
    }
  } catch (error) {
    for (const { shards } of weights.values()) {
      for (const { buffer } of shards) device.destroyBuffer(buffer);
    }
    throw error;
  }
  return { weight: (name) => weights.get(name)!, bytes, numParameters };
}

function ones(count: number): Uint8Array {
  return new Uint8Array(new Float32Array(count).fill(1).buffer);
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import { kvRow, type KvShape, storeKv } from "./kv_cache.ts";
import source from "./rope_store_kv.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "./step.ts";

type Shape = KvShape & Readonly<{ H: number }>;

/** Rotates q in place and stores rotated k, and v, in the pool. D is a multiple of 4. */
export const ropeStoreKv: Kernel<Shape> = {
  name: "rope_store_kv",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "rope", access: "read" },
    { name: "qkv", access: "read_write" },
    { name: "kv", access: "read_write" },
  ],
  reference({ step, rope, qkv, kv }, shape) {
    const { H, G, D, KV_DTYPE } = shape;
    const words = step!.u32;
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const rows = qkv!.f32.subarray(t * (H + 2 * G) * D, (t + 1) * (H + 2 * G) * D);
      const angles = rope!.f32.subarray(words[words[STEP.positions]! + t]! * D);
      const keysAndValues = rows.slice(H * D);
      for (let h = 0; h < H; h++) rotate(rows.subarray(h * D, (h + 1) * D), angles);
      for (let g = 0; g < G; g++) rotate(keysAndValues.subarray(g * D, (g + 1) * D), angles);
      const slot = words[words[STEP.slots]! + t]!;
      keysAndValues.forEach((value, i) => {
        const head = Math.floor(i / D);
        const row = kvRow(slot, head < G ? 0 : 1, head % G, shape);
        storeKv(kv!, row + i % D, KV_DTYPE, value);
      });
    }
  },
};

/** Rotates dims `(i, i + D/2)` of one head by `angles[i] = (cos, sin)`. */
function rotate(head: Float32Array, angles: Float32Array): void {
  const half = head.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b] = [head[i]!, head[i + half]!];
    const [cos, sin] = [angles[2 * i]!, angles[2 * i + 1]!];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

/** Rotates and stores every row of the step, for one layer's KV buffer. */
export function ropeStoreKvCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "rope" | "qkv" | "kv", DeviceBuffer>>,
): KernelCall<StepDims> {
  const lanes = (shape.H + 2 * shape.G) * shape.D / 4;
  return kernelCall(ropeStoreKv, {
    constants: shape,
    buffers,
    workgroups: ({ numTokens }) => [Math.ceil(lanes / 64), numTokens, 1],
  });
}

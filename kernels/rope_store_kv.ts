import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import { isQuantized } from "../src/core/kv_layout.ts";
import { type KvConstants, kvConstants, type KvShape, storeKv } from "./kv_cache.ts";
import { CODE_MAX, MIN_PEAK } from "./kv_codes.ts";
import quantizedSource from "./rope_store_quantized_kv.wgsl" with { type: "text" };
import source from "./rope_store_kv.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "./step.ts";

type Shape = KvShape & Readonly<{ H: number }>;

const BINDINGS = [
  { name: "step", access: "read" },
  { name: "rope", access: "read" },
  { name: "qkv", access: "read_write" },
  { name: "kv", access: "read_write" },
] as const;

/** Rotates q in place and stores rotated k, and v, in a pool of f16 or f32. D is a multiple of 4. */
export const ropeStoreKv: Kernel<Shape> = {
  name: "rope_store_kv",
  source: stepWgsl + source,
  bindings: BINDINGS,
  reference({ step, rope, qkv, kv }, shape) {
    const { H, G, D } = shape;
    const words = step!.u32;
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const rows = qkv!.f32.subarray(t * (H + 2 * G) * D, (t + 1) * (H + 2 * G) * D);
      const angles = rope!.f32.subarray(words[words[STEP.positions]! + t]! * D);
      const keysAndValues = rows.slice(H * D);
      for (let h = 0; h < H; h++) rotate(rows.subarray(h * D, (h + 1) * D), angles);
      for (let g = 0; g < G; g++) rotate(keysAndValues.subarray(g * D, (g + 1) * D), angles);
      const slot = words[words[STEP.slots]! + t]!;
      for (let g = 0; g < 2 * G; g++) {
        const at = { slot, which: g < G ? 0 : 1, head: g % G } as const;
        storeKv(kv!, at, shape, keysAndValues.subarray(g * D, (g + 1) * D));
      }
    }
  },
};

type QuantizedShape = Shape & KvConstants & Readonly<{ CODE_MAX: number; MIN_PEAK: number }>;

/** The same for quantized pools. D is a multiple of 8, and of 16 in int4. */
export const ropeStoreQuantizedKv: Kernel<QuantizedShape> = {
  name: "rope_store_quantized_kv",
  source: stepWgsl + quantizedSource,
  bindings: BINDINGS,
  reference: ropeStoreKv.reference,
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
  const numHeads = shape.H + 2 * shape.G;
  const workgroups = (lanesPerHead: number) => ({ numTokens }: StepDims) =>
    [Math.ceil(numHeads * lanesPerHead / 64), numTokens, 1] as const;
  const dtype = shape.KV_DTYPE;
  if (!isQuantized(dtype)) {
    return kernelCall(ropeStoreKv, {
      constants: shape,
      buffers,
      workgroups: workgroups(shape.D / 4),
    });
  }
  const layout = kvConstants(shape);
  return kernelCall(ropeStoreQuantizedKv, {
    constants: { ...shape, ...layout, CODE_MAX: CODE_MAX[dtype], MIN_PEAK },
    buffers,
    workgroups: workgroups(layout.VECTOR_LOADS / 2),
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import elements from "./elements.wgsl" with { type: "text" };
import source from "./embed_tokens.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "./step.ts";
import type { WeightDtype } from "./weight_dtype.ts";

type Shape = Readonly<{ V: number; E: number; WEIGHT_DTYPE: WeightDtype; LOAD: 1 }>;

/** `out[t, :] = w[tokens[t], :]`; w is [V, E], out f32 [T, E]. */
export const embedTokens: Kernel<Shape> = {
  name: "embed_tokens",
  source: stepWgsl + elements + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "w", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, w, out }, { V, E, WEIGHT_DTYPE }) {
    const words = step!.u32;
    const weights = w!.asF32(WEIGHT_DTYPE);
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const token = Math.min(words[words[STEP.tokens]! + t]!, V - 1);
      out!.f32.set(weights.subarray(token * E, (token + 1) * E), t * E);
    }
  },
};

/** Embeds all rows of the step. */
export function embedTokensCall(
  shape: Omit<Shape, "LOAD">,
  buffers: Readonly<Record<"step" | "w" | "out", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(embedTokens, {
    constants: { ...shape, LOAD: 1 },
    buffers,
    workgroups: ({ numTokens }) => [Math.ceil(shape.E / 4 / 64), numTokens, 1],
  });
}

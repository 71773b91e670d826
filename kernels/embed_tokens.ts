import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import elements from "./elements.wgsl" with { type: "text" };
import source from "./embed_tokens.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "./step.ts";
import {
  type WeightConstants,
  weightConstants,
  type WeightDtype,
  weightValues,
} from "./weight_dtype.ts";

type Shape = WeightConstants & Readonly<{ V: number; E: number }>;

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
    const weights = weightValues(w!, WEIGHT_DTYPE, V, E);
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const token = Math.min(words[words[STEP.tokens]! + t]!, V - 1);
      out!.f32.set(weights.subarray(token * E, (token + 1) * E), t * E);
    }
  },
};

/** Embeds all rows of the step. */
export function embedTokensCall(
  { V, E, dtype }: { V: number; E: number; dtype: WeightDtype },
  buffers: Readonly<Record<"step" | "w" | "out", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(embedTokens, {
    constants: {
      ...weightConstants(dtype, V, E, 1),
      WEIGHT_IMAGE: buffers.w.isImage === true,
      V,
      E,
    },
    buffers,
    workgroups: ({ numTokens }) => [Math.ceil(E / 4 / 64), numTokens, 1],
  });
}

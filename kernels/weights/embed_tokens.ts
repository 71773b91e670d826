import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import elements from "./_elements.wgsl" with { type: "text" };
import source from "./embed_tokens.wgsl" with { type: "text" };
import { STEP, type StepDims, stepWgsl } from "../step.ts";
import {
  WEIGHT_ARGS,
  type WeightConstants,
  weightConstants,
  type WeightDtype,
  weightValues,
} from "./weight_dtype.ts";
import { shardsOf, type WeightBuffers } from "./weight_shards.ts";

type Shape =
  & WeightConstants
  & Readonly<{ V: number; E: number; SCALE: number; BEGIN: number; END: number }>;

/** Vocabulary, hidden size and shard do not change what is compiled. */
const ARGS = [...["V", "E", "BEGIN", "END"] as const, ...WEIGHT_ARGS] as const;

/**
 * `out[t, :] = SCALE w[tokens[t] - BEGIN, :]` for tokens in [BEGIN, END), rows of w; out is f32 [T,
 * E].
 */
export const embedTokens: Kernel<Shape> = {
  name: "embed_tokens",
  source: stepWgsl + argsWgsl(ARGS) + elements + source,
  args: ARGS,
  bindings: [
    { name: "step", access: "read" },
    { name: "w", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, w, out }, { V, E, SCALE, BEGIN, END, WEIGHT_DTYPE }) {
    const words = step!.u32;
    const weights = weightValues(w!, WEIGHT_DTYPE, END - BEGIN, E);
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const token = Math.min(words[words[STEP.tokens]! + t]!, V - 1);
      if (token < BEGIN || token >= END) continue;
      const row = weights.subarray((token - BEGIN) * E, (token - BEGIN + 1) * E);
      out!.f32.set(row.map((value) => SCALE * value), t * E);
    }
  },
};

/**
 * Embeds all rows of the step: one call per shard of the matrix, each for the tokens it has.
 *
 * @param scale 1 unless given. It is an f32 as everything here is: implementations that compute in
 * bf16 round it to that (Gemma's sqrt(3584), 59.87, becomes 59.75), which belongs to their dtype
 * and not to the model.
 */
export function embedTokensCalls(
  { V, E, dtype, scale = 1 }: { V: number; E: number; dtype: WeightDtype; scale?: number },
  { step, w, out }:
    & Readonly<Record<"step" | "out", DeviceBuffer>>
    & Readonly<{ w: WeightBuffers }>,
): KernelCall<StepDims>[] {
  return shardsOf(w, V).map(({ buffer, begin, end, dtype: own = dtype }) =>
    kernelCall(embedTokens, {
      constants: {
        ...weightConstants(own, end - begin, E, 1),
        WEIGHT_TEXTURE: buffer.isTexture === true,
        ...{ V, E, SCALE: Math.fround(scale), BEGIN: begin, END: end },
      },
      buffers: { step, w: buffer, out },
      workgroups: ({ numTokens }) => [Math.ceil(E / 4 / 64), numTokens, 1],
    })
  );
}

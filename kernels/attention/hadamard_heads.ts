import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { hadamard, hadamardBlock, hadamardWgsl } from "../kv/hadamard.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";
import source from "./hadamard_heads.wgsl" with { type: "text" };

type Shape = Readonly<{ H: number; D: number; HADAMARD: number; LANE_DIMS: number }>;

/**
 * The Walsh-Hadamard transform of all heads of attention's output, in place. Outputs of V that is
 * stored transformed are transformed, and the transform is its own inverse.
 */
export const hadamardHeads: Kernel<Shape> = {
  name: "hadamard_heads",
  source: stepWgsl + source.replace("${hadamard}", () => hadamardWgsl),
  bindings: [
    { name: "step", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ step, out }, { H, D }) {
    const numHeads = step!.u32[STEP.numTokens]! * H;
    for (let head = 0; head < numHeads; head++) {
      hadamard(out!.f32.subarray(head * D, (head + 1) * D));
    }
  },
};

/** {@link hadamardHeads} of one layer: `out` f32 [T, H, D]. */
export function hadamardHeadsCall(
  { H, D }: Pick<Shape, "H" | "D">,
  { step, out }: Readonly<Record<"step" | "out", DeviceBuffer>>,
): KernelCall<StepDims> {
  const HADAMARD = hadamardBlock(D);
  return kernelCall(hadamardHeads, {
    constants: { H, D, HADAMARD, LANE_DIMS: HADAMARD },
    buffers: { step, out },
    workgroups: ({ numTokens }: StepDims) => [Math.ceil(H * D / HADAMARD / 64), numTokens, 1],
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./copy_blocks.wgsl" with { type: "text" };
import { COPY, COPY_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";

/** `WORDS`: u32 words of one block in one layer, a multiple of 4. */
type Shape = Readonly<{ WORDS: number }>;

/** Copies the step's listed blocks within one layer's KV buffer. */
export const copyBlocks: Kernel<Shape> = {
  name: "copy_blocks",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "kv", access: "read_write" },
  ],
  reference({ step, kv }, { WORDS }) {
    const words = step!.u32;
    for (let c = 0; c < words[STEP.numCopies]!; c++) {
      const copy = words[STEP.copies]! + c * COPY_WORDS;
      const from = words[copy + COPY.from]! * WORDS;
      kv!.u32.copyWithin(words[copy + COPY.to]! * WORDS, from, from + WORDS);
    }
  },
};

/** Copies before anything else in the step reads or writes the layer's KV. */
export function copyBlocksCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "kv", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(copyBlocks, {
    constants: shape,
    buffers,
    workgroups: ({ numCopies }) => [Math.ceil(shape.WORDS / 4 / 64), numCopies, 1],
  });
}

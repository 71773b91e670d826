import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./copy_blocks.wgsl" with { type: "text" };
import {
  COPY,
  COPY_WORDS,
  GROUP_WORDS,
  groupStepWgsl,
  ofGroup,
  STEP,
  type StepDims,
} from "../step.ts";
import { kvPlace, type LayerKv } from "./kv_cache.ts";

/** `WORDS`: u32 words from one block of the cache group GROUP to the next, a multiple of 4. */
type Shape = Readonly<{ WORDS: number; GROUP: number }>;

/** A group of each layer geometry shares the pipeline. */
const ARGS = ["WORDS"] as const;

/** Copies the step's listed blocks of a cache group within one buffer, all layers' rows there. */
export const copyBlocks: Kernel<Shape> = {
  name: "copy_blocks",
  source: groupStepWgsl + argsWgsl(ARGS) + source,
  args: ARGS,
  bindings: [
    { name: "step", access: "read" },
    { name: "kv", access: "read_write" },
  ],
  reference({ step, kv }, { WORDS, GROUP }) {
    const words = step!.u32;
    const group = GROUP * GROUP_WORDS;
    for (let c = 0; c < words[STEP.numCopies + group]!; c++) {
      const copy = words[STEP.copies + group]! + c * COPY_WORDS;
      const from = words[copy + COPY.from]! * WORDS;
      kv!.u32.copyWithin(words[copy + COPY.to]! * WORDS, from, from + WORDS);
    }
  },
};

/**
 * Copies before anything else in the step reads or writes KV: one call per cache group and buffer
 * that these layers lie in.
 */
export function copyBlocksCalls(
  layers: readonly LayerKv[],
  step: DeviceBuffer,
): KernelCall<StepDims>[] {
  const calls: KernelCall<StepDims>[] = [];
  const seen = new Map<number, Set<DeviceBuffer>>();
  for (const { buffer: kv, shape } of layers) {
    const { GROUP, STRIDE: WORDS } = kvPlace(shape);
    const buffers = seen.get(GROUP) ?? new Set();
    seen.set(GROUP, buffers);
    if (buffers.has(kv)) continue;
    buffers.add(kv);
    calls.push(kernelCall(copyBlocks, {
      constants: { WORDS, GROUP },
      buffers: { step, kv },
      workgroups: ({ numCopies }: StepDims) =>
        [Math.ceil(WORDS / 4 / 64), ofGroup(numCopies, GROUP), 1] as const,
    }));
  }
  return calls;
}

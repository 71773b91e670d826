import { ceilDiv } from "../../src/base/math.ts";
import { bitsToF32, f32ToBits } from "../../src/base/float_bits.ts";
import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./adjust_logits.wgsl" with { type: "text" };
import { isOverflow, LARGEST_ADJUSTED, logitRangeWgsl, LOWEST } from "./logit_range.ts";
import { ADJUST, ADJUST_WORDS, STEP, type StepDims, stepWgsl } from "../step.ts";

type Shape = Readonly<{ V: number; LANES: number }>;

/** The size of the vocabulary does not change what is compiled. */
const ARGS = ["V"] as const;

/** Entries, or tokens of a bitmask, per workgroup. */
const ADJUST_CHUNK = 1024;

/** Applies penalties, biases and bans to rows of `logits` f32 [R, V], as the step lists them. */
export const adjustLogits: Kernel<Shape & Readonly<{ ADJUST_CHUNK: number }>> = {
  name: "adjust_logits",
  args: ARGS,
  source: stepWgsl + argsWgsl(ARGS) + logitRangeWgsl + source,
  bindings: [
    { name: "step", access: "read_write" },
    { name: "logits", access: "read_write" },
  ],
  reference({ step, logits }, { V }) {
    const words = step!.u32;
    for (let a = 0; a < words[STEP.numAdjusts]!; a++) {
      const record = words.subarray(words[STEP.adjusts]! + a * ADJUST_WORDS);
      const row = record[ADJUST.draw]!;
      adjust(words, record, logits!.f32.subarray(row * V, (row + 1) * V));
    }
  },
};

/** The definition. Each entry's own logit is left in place of its bias. */
function adjust(words: Uint32Array, record: Uint32Array, row: Float32Array): void {
  const penalty = (which: "repetition" | "frequency" | "presence") =>
    bitsToF32(record[ADJUST[which]]!);
  const numTokens = record[ADJUST.numTokens]!;
  const numAllowed = record[ADJUST.numAllowed]!;
  const allowed = words.subarray(record[ADJUST.allowed]!, record[ADJUST.allowed]! + numAllowed);
  const isAllowed = (t: number) =>
    numAllowed === 0 || ((allowed[t >>> 5] ?? 0) >>> t % 32 & 1) === 1;
  for (let i = 0; i < numTokens; i++) {
    const at = record[ADJUST.tokens]! + i;
    const token = words[at]!;
    if (token >= row.length || !isAllowed(token)) continue;
    const own = row[token]!;
    if (isOverflow(own)) continue;
    const seen = words[at + numTokens]!;
    const count = seen >>> 1;
    const repetition = seen > 0 ? penalty("repetition") : 1;
    const repeated = own > 0 ? own / repetition : own * repetition;
    const penalized = repeated - penalty("frequency") * count -
      (count > 0 ? penalty("presence") : 0);
    const biased = penalized + bitsToF32(words[at + 2 * numTokens]!);
    row[token] = Math.min(Math.max(LOWEST, biased), LARGEST_ADJUSTED);
    words[at + 2 * numTokens] = f32ToBits(own);
  }
  for (let t = 0; t < row.length; t++) {
    if (!isAllowed(t) && !isOverflow(row[t]!)) row[t] = LOWEST;
  }
}

/** Adjusts every draw of the step that asks for it; without one, nothing is dispatched. */
export function adjustLogitsCall(
  shape: Shape,
  buffers: Readonly<Record<"step" | "logits", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(adjustLogits, {
    constants: { ...shape, ADJUST_CHUNK },
    buffers,
    workgroups: ({ numAdjusts, maxAdjustEntries, numBitmasks }) => {
      const widest = Math.max(maxAdjustEntries, numBitmasks > 0 ? shape.V : 0);
      return [ceilDiv(widest, ADJUST_CHUNK), numAdjusts, 1];
    },
  });
}

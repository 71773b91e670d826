import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";
import source from "./route_experts.wgsl" with { type: "text" };

/** Which experts a token goes to. */
export interface Routing {
  readonly numExperts: number;
  /** Experts of each token, at most all. */
  readonly topK: number;
  /** Whether the weights of a token's experts add up to 1. */
  readonly normalizes: boolean;
}

type Shape = Readonly<{ X: number; TOP_K: number; NORMALIZES: boolean; LANES: number }>;

/** The experts of each token with the largest logits, and their weights. */
export const routeExperts: Kernel<Shape> = {
  name: "route_experts",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "logits", access: "read" },
    { name: "ids", access: "read_write" },
    { name: "weights", access: "read_write" },
  ],
  reference({ step, logits, ids, weights }, { X, TOP_K, NORMALIZES }) {
    for (let t = 0; t < step!.u32[STEP.numTokens]!; t++) {
      const row = logits!.f32.subarray(t * X, (t + 1) * X);
      const keys = Uint32Array.from(new Uint32Array(row.slice().buffer), sortKey);
      const order = Array.from(row.keys()).sort((a, b) => keys[b]! - keys[a]! || a - b);
      const chosen = order.slice(0, TOP_K);
      const exps = (experts: readonly number[]) =>
        experts.map((e) => Math.exp(row[e]! - row[order[0]!]!));
      const sum = exps(NORMALIZES ? chosen : order).reduce((a, b) => a + b);
      ids!.u32.set(chosen, t * TOP_K);
      weights!.f32.set(exps(chosen).map((exp) => exp / sum), t * TOP_K);
    }
  },
};

/** A number that orders as the f32 of these bits does, in a total order. */
function sortKey(bits: number): number {
  return (bits >>> 31 === 1 ? ~bits : bits ^ 0x80000000) >>> 0;
}

/**
 * Chooses the experts of every row of the step.
 *
 * logits f32 [T, X]; ids u32 [T, k] and weights f32 [T, k] are written, largest logit first.
 */
export function routeExpertsCall(
  { label, numExperts, topK, normalizes, lanes }: Routing & { label: string; lanes: number },
  buffers: Readonly<Record<"step" | "logits" | "ids" | "weights", DeviceBuffer>>,
): KernelCall<StepDims> {
  return kernelCall(routeExperts, {
    label,
    constants: { X: numExperts, TOP_K: topK, NORMALIZES: normalizes, LANES: lanes },
    buffers,
    workgroups: ({ numTokens }) => [numTokens, 1, 1],
  });
}

import { argsWgsl, type DeviceBuffer } from "../../src/device/kernel.ts";
import { invariant } from "../../src/base/invariant.ts";
import { WEIGHT_ARGS } from "../weights/weight_dtype.ts";
import type { OutputPlace } from "../weights/weight_shards.ts";

/**
 * What a gate goes through before it multiplies its up (Shazeer 2020, arXiv:2002.05202): SiLU,
 * GELU, or GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415); or gpt-oss's of
 * both, clamped (arXiv:2508.10925).
 */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "clamped_swish";

/** What a product does with its sums: store them, add them to y, or gate the ups. */
export type Epilogue = "store" | "add" | Activation;

/** How a product finishes its sums. */
export interface Finish {
  /** "store" unless given. */
  readonly epilogue?: Epilogue;
  /** Multiplies what is stored or added, biases included; 1 unless given. Nothing that is gated. */
  readonly scale?: number;
  /** `c tanh(l / c)` of what is stored, c > 0; absent: no cap. */
  readonly softCap?: number | undefined;
  /** What "clamped_swish" clamps gates and ups to, above 0; nothing else has it. */
  readonly gateLimit?: number | undefined;
  /** Rows of y hold these outputs alone unless given. */
  readonly place?: OutputPlace;
}

/** The same as constants of a template. */
export type FinishConstants = Readonly<{
  EPILOGUE: Epilogue;
  /** Whether the epilogue is an activation, and a matrix so gates over ups. */
  GATED: boolean;
  /** Whether there are biases. */
  HAS_BIAS: boolean;
  SCALE: number;
  /** 0 for none. */
  SOFT_CAP: number;
  /** 0 for none. */
  GATE_LIMIT: number;
  /** Whether rows, weights and biases lie as `expert_matmul` says. */
  EXPERTS: boolean;
  /** Column of output 0 in the rows of y, and elements of such a row. */
  Y_FIRST: number;
  Y_STRIDE: number;
}>;

/**
 * What a kernel of a product is told when it runs, so that products of all sizes, and shards of one
 * matrix, share its pipelines: each is read once or twice by a lane, before and after its loop.
 */
export const PRODUCT_ARGS = [
  ...["N", "K", "Y_FIRST", "Y_STRIDE", "ROWS_WORD"] as const,
  ...WEIGHT_ARGS,
] as const;

/** Their declaration, which the text of such a kernel holds. */
export const productWgsl: string = argsWgsl(PRODUCT_ARGS);

/** Whether an output is a gate's activation times its up, from two rows of the weight matrix. */
export function isGated(epilogue: Epilogue): epilogue is Activation {
  return epilogue !== "store" && epilogue !== "add";
}

/** Rows of the weight matrix behind `n` outputs. */
export function weightRows(n: number, epilogue: Epilogue): number {
  return isGated(epilogue) ? 2 * n : n;
}

/** The constants of a product of `n` outputs, with biases or without. */
export function finishConstants(
  { n, epilogue = "store", scale = 1, softCap, gateLimit, place = { first: 0, stride: n } }:
    & Finish
    & { readonly n: number },
  bias: DeviceBuffer | undefined,
): FinishConstants {
  invariant(scale === 1 || !isGated(epilogue), `a gated product has no scale, but ${scale}`);
  invariant(
    softCap === undefined || epilogue === "store" && softCap > 0,
    `a product that is stored may have a soft cap above 0, but ${epilogue} has ${softCap}`,
  );
  invariant(
    epilogue === "clamped_swish" ? (gateLimit ?? 0) > 0 : gateLimit === undefined,
    `clamped_swish has a limit above 0, and nothing else has, but ${epilogue} has ${gateLimit}`,
  );
  return {
    EPILOGUE: epilogue,
    GATED: isGated(epilogue),
    HAS_BIAS: bias !== undefined,
    SCALE: Math.fround(scale),
    SOFT_CAP: softCap ?? 0,
    GATE_LIMIT: gateLimit ?? 0,
    EXPERTS: false,
    Y_FIRST: place.first,
    Y_STRIDE: place.stride,
  };
}

/** Where sums go, f32 [R, Y_STRIDE], and the biases of outputs and after them of ups. */
export interface Outputs {
  readonly y: Float32Array;
  /** Read with `HAS_BIAS` alone. */
  readonly bias: Float32Array;
}

/**
 * The definition of `_epilogue.wgsl`: what becomes of output n of row r, whose sum is `sum`, and
 * where it is gated `up` of its up.
 */
export function finishOutput(
  { EPILOGUE, GATED, HAS_BIAS, SCALE, SOFT_CAP, GATE_LIMIT, Y_FIRST, Y_STRIDE }: Omit<
    FinishConstants,
    "EXPERTS"
  >,
  { y, bias }: Outputs,
  r: number,
  n: number,
  sum: number,
  up: number,
): void {
  const at = r * Y_STRIDE + Y_FIRST + n;
  const s = HAS_BIAS ? sum + bias[Y_FIRST + n]! : sum;
  if (GATED) {
    const u = HAS_BIAS ? up + bias[Y_STRIDE + Y_FIRST + n]! : up;
    y[at] = EPILOGUE === "clamped_swish"
      ? clampedSwish(s, u, GATE_LIMIT)
      : activate(EPILOGUE as PlainActivation, s) * u;
  } else if (EPILOGUE === "add") y[at]! += SCALE * s;
  else y[at] = SOFT_CAP === 0 ? SCALE * s : softCapped(SCALE * s, SOFT_CAP);
}

/** gpt-oss's gate (arXiv:2508.10925): both clamped, and the ups moved by one. */
function clampedSwish(gate: number, up: number, limit: number): number {
  const g = Math.min(gate, limit);
  return g / (1 + Math.exp(-1.702 * g)) * (Math.min(Math.max(up, -limit), limit) + 1);
}

/** The activations that a gate alone goes through. */
type PlainActivation = Exclude<Activation, "clamped_swish">;

/** The activation of a gate. */
export function activate(activation: PlainActivation, g: number): number {
  switch (activation) {
    case "silu":
      return g / (1 + Math.exp(-g));
    case "gelu":
      return g / 2 * (1 + erf(g * Math.SQRT1_2));
    case "gelu_tanh":
      return g / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3)));
  }
}

/** `cap tanh(l / cap)`; what is not finite in f32 stays, so that the overflow is seen. */
function softCapped(l: number, cap: number): number {
  return Number.isFinite(Math.fround(l)) ? cap * Math.tanh(l / cap) : l;
}

/**
 * The error function, to some units of f64's last place: `2 / sqrt(pi) e^(-z^2) sum_i 2^i z^(2i+1)
 * / (1 * 3 * ... * (2i+1))`, whose terms have one sign (Abramowitz and Stegun 1964, 7.1.6). From 6
 * on it is 1 in f64.
 */
export function erf(z: number): number {
  if (!(Math.abs(z) < 6)) return Math.sign(z);
  let term = z;
  let sum = 0;
  for (let i = 1; sum + term !== sum; i++) {
    sum += term;
    term *= 2 * z * z / (2 * i + 1);
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-z * z) * sum;
}

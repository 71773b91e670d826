import { type Epilogue, type Finish, weightRows } from "../../kernels/matmul/epilogue.ts";
import type { w8a8MatmulCalls } from "../../kernels/matmul/w8a8_matmul.ts";
import { HEADER_WORDS, NO_WORK, STEP, type StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { QuantizedDtype } from "../../src/core/weight_format.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { noise, runBoth } from "./agreement.ts";
import { weightFixture } from "./weight_fixture.ts";

/** Rows of each buffer past the last one, which must stay as they are and unread. */
const POISONED_ROWS = 3;

/** A product of int8 activations. */
export interface W8a8Case extends Omit<Finish, "epilogue" | "place"> {
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly epilogue: Epilogue;
  readonly dtype: QuantizedDtype;
  /** Whether the weights are a texture; default: false. */
  readonly isTexture?: boolean;
  /** Absent: none. */
  readonly bias?: Float32Array;
}

/** What makes the calls of such a product. */
export type W8a8Calls = typeof w8a8MatmulCalls;

/** The header of a step of so many tokens, and its dimensions. */
export function tokensStep(numTokens: number): { words: Uint32Array; dims: StepDims } {
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numTokens;
  return { words, dims: { ...NO_WORK, numTokens } };
}

/**
 * Rows of codes from -127 to 127 and scales, and after them rows that make every sum they enter
 * NaN.
 */
function codedRows(rows: number, k: number) {
  const all = rows + POISONED_ROWS;
  const codes = new Int8Array(all * k).fill(127);
  codes.set(Int8Array.from(noise(rows * k, 1), (value) => Math.round(127 * value)));
  const scales = new Float32Array(all * k / 32).fill(NaN);
  scales.set(noise(rows * k / 32, 5, 1 / 127));
  return { codes: new Uint32Array(codes.buffer), scales };
}

/**
 * Runs `calls` on both devices and returns y, which was 7 before, and has rows that nobody may
 * write.
 */
export function runW8a8(
  gpu: WebGpuDevice,
  calls: W8a8Calls,
  tuning: Tuning,
  { rows, isTexture = false, bias, ...shape }: W8a8Case,
): Promise<{ actual: HostBuffer; expected: HostBuffer }> {
  const { n, k, dtype, epilogue } = shape;
  const product = { label: "test", rows: "tokens", ...shape } as const;
  const { words, dims } = tokensStep(rows);
  const matrix = { dtype, rows: weightRows(n, epilogue), columns: k };
  const values = weightFixture(dtype, matrix.rows, k);
  const contents = {
    step: words,
    ...codedRows(rows, k),
    w: isTexture ? { ...matrix, values } : values,
    y: new Float32Array((rows + POISONED_ROWS) * n).fill(7),
    ...(bias === undefined ? {} : { bias }),
  };
  return runBoth(gpu, contents, (b) => calls(product, b as never, tuning), dims, "y");
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import elements from "./elements.wgsl" with { type: "text" };
import source from "./matmul.wgsl" with { type: "text" };
import { numRows, type Rows, ROWS_WORD } from "./rows.ts";
import { type StepDims, stepWgsl } from "./step.ts";
import { foldGrid, type MatmulTile, type Tuning } from "./tuning.ts";
import type { WeightDtype } from "./weight_dtype.ts";

/** What becomes of the sums: stored, added to what is there, or gates and ups joined (SwiGLU). */
export type Epilogue = "store" | "add" | "silu";

type Shape =
  & Readonly<{ N: number; K: number; ROWS_WORD: number; WEIGHT_DTYPE: WeightDtype }>
  & Readonly<{ EPILOGUE: Epilogue }>
  & Readonly<{ TILE_R: number; TILE_N: number; W: number }>
  & Readonly<{ LANES: number; SLICES: number; RUN: number }>;

/**
 * `y = x w^T`, `y += x w^T`, or `y = silu(x gate^T) * (x up^T)` with w the gates over the ups.
 *
 * x f32 [R, K], w [N, K] or [2N, K], y f32 [R, N]. K is a multiple of 4.
 */
export const matmul: Kernel<Shape> = {
  name: "matmul",
  source: stepWgsl + elements + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
  ],
  reference({ step, x, w, y }, { N, K, ROWS_WORD, WEIGHT_DTYPE, EPILOGUE }) {
    const rows = step!.u32[ROWS_WORD]!;
    const weights = w!.asF32(WEIGHT_DTYPE);
    const weightRow = (n: number) => weights.subarray(n * K, (n + 1) * K);
    for (let n = 0; n < N; n++) {
      const first = weightRow(n);
      const up = EPILOGUE === "silu" ? weightRow(N + n) : first;
      for (let r = 0; r < rows; r++) {
        const sum = dotProduct(x!.f32, r * K, first);
        const at = r * N + n;
        if (EPILOGUE === "store") y!.f32[at] = sum;
        else if (EPILOGUE === "add") y!.f32[at]! += sum;
        else y!.f32[at] = sum / (1 + Math.exp(-sum)) * dotProduct(x!.f32, r * K, up);
      }
    }
  },
};

/** `sum_k x[offset + k] * w[k]`, four sums at a time for the sake of the CPU's pipeline. */
function dotProduct(x: Float32Array, offset: number, w: Float32Array): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let k = 0; k < w.length; k += 4) {
    a += x[offset + k]! * w[k]!;
    b += x[offset + k + 1]! * w[k + 1]!;
    c += x[offset + k + 2]! * w[k + 2]!;
    d += x[offset + k + 3]! * w[k + 3]!;
  }
  return a + b + (c + d);
}

/** One matrix product of a model: `n` outputs from `k` inputs of each row. */
export interface Product {
  readonly label: string;
  readonly rows: Rows;
  readonly n: number;
  readonly k: number;
  readonly dtype: WeightDtype;
  /** "store" unless given. */
  readonly epilogue?: Epilogue;
}

/** One matrix product, as one call per register tile; each step runs the one that fits its rows. */
export function matmulCalls(
  { label, rows, n, k, dtype, epilogue = "store" }: Product,
  buffers: Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return tuning.matmulTiles.map((tile) => {
    const outputs = epilogue === "silu" ? Math.max(1, tile.outputs / 2) : tile.outputs;
    return kernelCall(matmul, {
      label,
      constants: {
        N: n,
        K: k,
        ROWS_WORD: ROWS_WORD[rows],
        WEIGHT_DTYPE: dtype,
        EPILOGUE: epilogue,
        TILE_R: tile.rows,
        TILE_N: outputs,
        // Two weight rows per output fill the registers that one would with twice the outputs.
        W: epilogue === "silu" ? 2 * outputs : outputs,
        LANES: tile.lanes,
        SLICES: tile.slices,
        RUN: runLength(k, tuning.matmulRun),
      },
      buffers,
      workgroups: (dims) => tileGrid({ ...tile, outputs }, numRows(rows, dims), n),
    });
  });
}

/** The longest run of fours, at most `most` (a power of two), that divides a row of `k` inputs. */
function runLength(k: number, most: number): number {
  return (k / 4) % most === 0 ? most : runLength(k, most / 2);
}

/** The workgroups of one tile shape; none unless the step's rows are what the tile is for. */
function tileGrid(
  tile: MatmulTile,
  rows: number,
  n: number,
): readonly [number, number, number] {
  if (rows < tile.minRows || rows > tile.maxRows) return [0, 0, 0];
  const [x, z] = foldGrid(Math.ceil(n / (tile.outputs * tile.lanes)));
  return [x, Math.ceil(rows / tile.rows), z];
}

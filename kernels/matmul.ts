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
import { type WeightDtype, weightValues } from "./weight_dtype.ts";

type Shape =
  & Readonly<{ N: number; K: number; ROWS_WORD: number; WEIGHT_DTYPE: WeightDtype; ADD: boolean }>
  & Readonly<{ TILE_R: number; TILE_N: number; LANES: number; SLICES: number }>;

/** `y = x w^T`, or `y += x w^T`; x f32 [R, K], w [N, K], y f32 [R, N]. K is a multiple of 4. */
export const matmul: Kernel<Shape> = {
  name: "matmul",
  source: stepWgsl + elements + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
  ],
  reference({ step, x, w, y }, { N, K, ROWS_WORD, WEIGHT_DTYPE, ADD }) {
    const rows = step!.u32[ROWS_WORD]!;
    const weights = weightValues(w!, WEIGHT_DTYPE, N, K);
    for (let n = 0; n < N; n++) {
      const column = weights.subarray(n * K, (n + 1) * K);
      for (let r = 0; r < rows; r++) {
        const value = dotProduct(x!.f32, r * K, column);
        y!.f32[r * N + n] = ADD ? y!.f32[r * N + n]! + value : value;
      }
    }
  },
};

/** `sum_k x[offset + k] * w[k]`, four sums at a time for the sake of the CPU's pipeline. */
export function dotProduct(x: Float32Array, offset: number, w: Float32Array): number {
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

/** One matrix product, as one call per register tile; each step runs the one that fits its rows. */
export function matmulCalls(
  { label, rows, n, k, dtype, add = false }: {
    label: string;
    rows: Rows;
    n: number;
    k: number;
    dtype: WeightDtype;
    add?: boolean;
  },
  buffers: Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return tuning.matmulTiles.map((tile) =>
    kernelCall(matmul, {
      label,
      constants: {
        N: n,
        K: k,
        ROWS_WORD: ROWS_WORD[rows],
        WEIGHT_DTYPE: dtype,
        ADD: add,
        TILE_R: tile.rows,
        TILE_N: tile.outputs,
        LANES: tile.lanes,
        SLICES: tile.slices,
      },
      buffers,
      workgroups: (dims) => tileGrid(tile, numRows(rows, dims), n),
    })
  );
}

/** The workgroups of one tile shape; none unless the step's rows are what the tile is for. */
export function tileGrid(
  tile: MatmulTile,
  rows: number,
  n: number,
): readonly [number, number, number] {
  if (rows < tile.minRows || rows > tile.maxRows) return [0, 0, 0];
  const [x, z] = foldGrid(Math.ceil(n / (tile.outputs * tile.lanes)));
  return [x, Math.ceil(rows / tile.rows), z];
}

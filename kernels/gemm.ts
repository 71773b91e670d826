import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import elements from "./elements.wgsl" with { type: "text" };
import source from "./gemm.wgsl" with { type: "text" };
import { type Epilogue, matmul, type Product } from "./matmul.ts";
import { numRows, ROWS_WORD } from "./rows.ts";
import { type StepDims, stepWgsl } from "./step.ts";
import { foldGrid, type GemmTile, type Tuning } from "./tuning.ts";
import type { WeightDtype } from "./weight_dtype.ts";

type Shape =
  & Readonly<{ N: number; K: number; ROWS_WORD: number; WEIGHT_DTYPE: WeightDtype }>
  & Readonly<{ EPILOGUE: Epilogue; STAGED: "f16" | "f32" }>
  & Readonly<{ ROWS: number; COLUMNS: number; OUTPUTS: number; FOURS: number }>
  & Readonly<{ TILE_R: number; TILE_M: number; TILE_N: number }>
  & Readonly<{ LANES: number; SLICES: number; X_LOADS: number; W_LOADS: number }>;

/** {@link matmul} for many rows: the same definition, by tiles in shared memory. */
export const gemm: Kernel<Shape> = {
  name: "gemm",
  source: stepWgsl + elements + source,
  bindings: matmul.bindings,
  reference: (buffers, constants) =>
    // The definition does not look at what only tiles matmul's lanes.
    matmul.reference(buffers, { ...constants, W: constants.TILE_M, RUN: 1 }),
};

/** One matrix product, as one call per tile of `gemm`; each step runs the one that fits its rows. */
export function gemmCalls(
  { label, rows, n, k, dtype, epilogue = "store" }: Product,
  buffers: Readonly<Record<"step" | "x" | "w" | "y", DeviceBuffer>>,
  { gemmTiles, stageF16 }: Tuning,
): KernelCall<StepDims>[] {
  return gemmTiles.map((tile) => {
    const outputs = epilogue === "silu" ? tile.columns / 2 : tile.columns;
    return kernelCall(gemm, {
      label,
      constants: {
        ...tileConstants(tile, stageF16 && dtype === "f16" ? "f16" : "f32"),
        N: n,
        K: k,
        ROWS_WORD: ROWS_WORD[rows],
        WEIGHT_DTYPE: dtype,
        EPILOGUE: epilogue,
        OUTPUTS: outputs,
        TILE_N: epilogue === "silu" ? tile.laneColumns / 2 : tile.laneColumns,
      },
      buffers,
      workgroups: (dims) => {
        const count = numRows(rows, dims);
        if (count < tile.minRows || count > tile.maxRows) return [0, 0, 0];
        const [x, z] = foldGrid(Math.ceil(n / outputs));
        return [x, Math.ceil(count / tile.rows), z];
      },
    });
  });
}

/** What follows from a tile and the type in which weights are staged. */
function tileConstants(tile: GemmTile, staged: "f16" | "f32") {
  const lanes = tile.slices * tile.rows * tile.columns / (tile.laneRows * tile.laneColumns);
  const fours = (staged === "f16" ? tile.inputs : tile.inputs / 2) / 4;
  return {
    STAGED: staged,
    ROWS: tile.rows,
    COLUMNS: tile.columns,
    FOURS: fours,
    TILE_R: tile.laneRows,
    TILE_M: tile.laneColumns,
    LANES: lanes,
    SLICES: tile.slices,
    X_LOADS: tile.rows * fours / lanes,
    W_LOADS: tile.columns * fours / lanes,
  };
}

/** Bytes of shared memory of a tile's workgroup; WebGPU promises 16,384. */
export function gemmWorkgroupBytes(tile: GemmTile, staged: "f16" | "f32"): number {
  const { ROWS, COLUMNS, FOURS } = tileConstants(tile, staged);
  return (FOURS + 1) * (16 * ROWS + (staged === "f16" ? 8 : 16) * COLUMNS);
}

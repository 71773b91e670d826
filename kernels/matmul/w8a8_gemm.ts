import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { type Product, tileGrid } from "./matmul.ts";
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import { PRODUCT_ARGS, productWgsl, weightRows } from "./epilogue.ts";
import { withLaneSums } from "./lane_sums.ts";
import joinSlices from "./_gemm_join_slices.wgsl" with { type: "text" };
import weightRow from "./_gemm_weight_row.wgsl" with { type: "text" };
import source from "./w8a8_gemm.wgsl" with { type: "text" };
import {
  multiplyCodes,
  type W8a8Constants,
  w8a8Constants,
  w8a8Matmul,
  type W8a8ProductBuffers,
} from "./w8a8_matmul.ts";
import { W8A8_SLICES, type W8a8GemmTile } from "../tuning/w8a8_tuning.ts";
import weights from "./_w8a8_weights.wgsl" with { type: "text" };
import { type StepDims, stepWgsl } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";
import { shardProducts } from "../weights/weight_shards.ts";

type Shape =
  & W8a8Constants
  & Readonly<{ ROWS: number; COLUMNS: number; OUTPUTS: number; LANES: number; SLICES: number }>
  & Readonly<{ TILE_R: number; W: number; TILE_N: number }>;

/** {@link w8a8Matmul} for many rows: the same definition, bit by bit, by tiles in shared memory. */
export const w8a8Gemm: Kernel<Shape> = {
  name: "w8a8_gemm",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + weights + epilogue + weightRow +
    withLaneSums(source.replace("${joinSlices}", () => joinSlices)),
  bindings: w8a8Matmul.bindings,
  reference: multiplyCodes,
};

/**
 * One product of int8 activations, as one call per shard of its matrix and tile; each step runs
 * those of the tile that fits its rows.
 */
export function w8a8GemmCalls(
  product: Product,
  { step, codes, scales, w: matrix, y, bias }: W8a8ProductBuffers,
  tuning: Pick<Tuning, "w8a8">,
): KernelCall<StepDims>[] {
  return shardProducts(product, matrix)
    .flatMap(({ product, w }) => shardCalls(product, { step, codes, scales, w, y, bias }, tuning));
}

function shardCalls(
  product: Product,
  buffers: W8a8ProductBuffers & Readonly<{ w: DeviceBuffer }>,
  { w8a8 }: Pick<Tuning, "w8a8">,
): KernelCall<StepDims>[] {
  const { label, epilogue = "store" } = product;
  return w8a8.gemmTiles.map((tile) => {
    const share = weightRows(1, epilogue);
    const outputs = tile.columns / share;
    return kernelCall(w8a8Gemm, {
      label,
      constants: {
        ...w8a8Constants(product, buffers),
        ROWS: tile.rows,
        COLUMNS: tile.columns,
        OUTPUTS: outputs,
        SLICES: W8A8_SLICES,
        LANES: w8a8GemmLanes(tile),
        TILE_R: tile.laneRows,
        W: tile.laneColumns,
        TILE_N: tile.laneColumns / share,
      },
      buffers: { ...buffers, bias: buffers.bias ?? buffers.step },
      workgroups: (dims) => tileGrid(product, tile, outputs, dims),
    });
  });
}

/** Lanes of a tile's workgroup; WebGPU promises 256. */
export function w8a8GemmLanes({ rows, columns, laneRows, laneColumns }: W8a8GemmTile): number {
  return W8A8_SLICES * rows * columns / (laneRows * laneColumns);
}

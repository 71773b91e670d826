import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import { PRODUCT_ARGS, productWgsl, weightRows } from "./epilogue.ts";
import { withLaneSums } from "./lane_sums.ts";
import joinSlices from "./_gemm_join_slices.wgsl" with { type: "text" };
import weightRow from "./_gemm_weight_row.wgsl" with { type: "text" };
import gemmTile from "./_gemm_tile.wgsl" with { type: "text" };
import source from "./gemm.wgsl" with { type: "text" };
import {
  matmul,
  multiplyRows,
  type Product,
  type ProductBuffers,
  type ProductConstants,
  productConstants,
  tileGrid,
} from "./matmul.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import type { GemmTile, Tuning } from "../tuning/tuning.ts";
import { type WeightConstants, weightConstants } from "../weights/weight_dtype.ts";
import { shardProducts } from "../weights/weight_shards.ts";

/** The body of `gemm` and `expert_gemm`. */
export const gemmTileWgsl: string = withLaneSums(
  gemmTile.replace("${joinSlices}", () => joinSlices),
);

/** The template's constants. */
export type GemmShape =
  & WeightConstants
  & ProductConstants
  & Readonly<{ STAGED: "f16" | "f32" }>
  & Readonly<{ ROWS: number; COLUMNS: number; OUTPUTS: number; FOURS: number }>
  & Readonly<{ TILE_R: number; W: number; TILE_N: number }>
  & Readonly<{ LANES: number; SLICES: number; X_LOADS: number; W_LOADS: number }>;

/** {@link matmul} for many rows: the same definition, by tiles in shared memory. */
export const gemm: Kernel<GemmShape> = {
  name: "gemm",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + elements + epilogue + weightRow + gemmTileWgsl + source,
  bindings: matmul.bindings,
  reference: multiplyRows,
};

/**
 * One matrix product, as one call per shard of its matrix and tile of `gemm`; each step runs those
 * of the tile that fits its rows.
 */
export function gemmCalls(
  product: Product,
  { step, x, w: matrix, y, bias }: ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return shardProducts(product, matrix)
    .flatMap(({ product, w }) => shardCalls(product, { step, x, w, y, bias }, tuning));
}

function shardCalls(
  product: Product,
  { bias, ...buffers }: ProductBuffers & Readonly<{ w: DeviceBuffer }>,
  { gemmTiles, stageF16 }: Tuning,
): KernelCall<StepDims>[] {
  const { label } = product;
  return gemmTiles.map((tile) => {
    const constants = gemmShape(product, tile, { stageF16 }, bias);
    return kernelCall(gemm, {
      label,
      constants,
      buffers: { ...buffers, bias: bias ?? buffers.step },
      workgroups: (dims) => tileGrid(product, tile, constants.OUTPUTS, dims),
    });
  });
}

/** The constants of one tile's call. */
export function gemmShape(
  product: Product,
  tile: GemmTile,
  { stageF16 }: Pick<Tuning, "stageF16">,
  bias: DeviceBuffer | undefined,
): GemmShape {
  const { n, k, dtype, epilogue = "store" } = product;
  const shape = tileConstants(tile, stageF16 && dtype === "f16" ? "f16" : "f32");
  // Two fours of 16 bits are the widest load of a lane.
  const load = dtype !== "f32" && k % 8 === 0 && shape.W_LOADS % 2 === 0 ? 2 : 1;
  return {
    ...shape,
    ...weightConstants(dtype, weightRows(n, epilogue), k, load),
    W_LOADS: shape.W_LOADS / load,
    ...productConstants(product, bias),
    OUTPUTS: tile.columns / weightRows(1, epilogue),
    TILE_N: tile.laneColumns / weightRows(1, epilogue),
  };
}

/** The constants of a tile and of the type in which weights are staged. */
function tileConstants(tile: GemmTile, staged: "f16" | "f32") {
  const lanes = tile.slices * tile.rows * tile.columns / (tile.laneRows * tile.laneColumns);
  const fours = (staged === "f16" ? tile.inputs : tile.inputs / 2) / 4;
  return {
    STAGED: staged,
    ROWS: tile.rows,
    COLUMNS: tile.columns,
    FOURS: fours,
    TILE_R: tile.laneRows,
    W: tile.laneColumns,
    LANES: lanes,
    SLICES: tile.slices,
    X_LOADS: tile.rows * fours / lanes,
    W_LOADS: tile.columns * fours / lanes,
  };
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import { PRODUCT_ARGS, productWgsl, weightRows } from "./epilogue.ts";
import { castRowsF16Call } from "./cast_rows_f16.ts";
import {
  multiply,
  type Product,
  type ProductBuffers,
  type ProductConstants,
  productConstants,
  tileGrid,
} from "./matmul.ts";
import source from "./gemm_subgroup_matrix.wgsl" with { type: "text" };
import { type MatrixTile, type MatrixUnit, stagedInputs } from "../tuning/matrix_tuning.ts";
import type { QuantizedRows } from "./w8a8_product.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import { serves } from "../tuning/tiles.ts";
import type { Tuning } from "../tuning/tuning.ts";
import { type WeightConstants, weightConstants, weightValues } from "../weights/weight_dtype.ts";
import { shardProducts } from "../weights/weight_shards.ts";

type Shape =
  & WeightConstants
  & ProductConstants
  & Readonly<{ UNIT_TYPE: MatrixUnit["type"]; UNIT_M: number; UNIT_N: number; UNIT_K: number }>
  & Readonly<{ ROWS: number; COLUMNS: number; OUTPUTS: number; FOURS: number; LANES: number }>
  & Readonly<{ SUB_ROWS: number; SUB_COLUMNS: number }>
  /** Fours of inputs in one load of x, and loads of a lane. */
  & Readonly<{ X_LOAD: number; X_LOADS: number; W_LOADS: number }>;

/**
 * {@link matmul} for many rows, by matrix units; their rows are f16 and scaled where the units'
 * are.
 */
export const gemmSubgroupMatrix: Kernel<Shape> = {
  name: "gemm_subgroup_matrix",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + elements + epilogue + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "scales", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
    { name: "bias", access: "read" },
  ],
  reference({ step, x, scales, w, y, bias }, shape) {
    const { N, K, ROWS_WORD, WEIGHT_DTYPE, EPILOGUE, UNIT_TYPE } = shape;
    const rows = step!.u32[ROWS_WORD]!;
    const values = UNIT_TYPE === "f32" ? x!.f32 : Float32Array.from(
      new Float16Array(x!.u8.buffer, 0, rows * K),
      (half, i) => half * scales!.f32[Math.floor(i / K)]!,
    );
    const weights = weightValues(w!, WEIGHT_DTYPE, weightRows(N, EPILOGUE), K);
    multiply({ rows, x: values, w: weights }, { y: y!.f32, bias: bias!.f32 }, shape);
  },
};

/**
 * Bytes of {@link QuantizedRows} that `gemm_subgroup_matrix` needs for so many rows of `k` inputs.
 */
export function castRowsBytes(rows: number, k: number): { codes: number; scales: number } {
  return { codes: 2 * rows * k, scales: 4 * rows };
}

/**
 * One matrix product on matrix units, as one call per shard of its matrix and tile; each step runs
 * those of the tile that fits its rows. Where the units take f16, the rows become that first, in
 * `codes`.
 */
export function gemmSubgroupMatrixCalls(
  product: Product,
  { step, x, codes, scales, w: matrix, y, bias }: QuantizedRows & ProductBuffers,
  { matrixTiles, normLanes: lanes }: Pick<Tuning, "matrixTiles" | "normLanes">,
): KernelCall<StepDims>[] {
  const { label, rows, k } = product;
  const f16Tiles = matrixTiles.filter(({ unit }) => unit.type === "f16");
  const includes = (count: number) => f16Tiles.some((tile) => serves(tile, count));
  const casts = f16Tiles.length === 0
    ? []
    : [castRowsF16Call({ label, rows, k, lanes, includes }, { step, x, halves: codes, scales })];
  const products = shardProducts(product, matrix).flatMap(({ product, w }) =>
    matrixTiles.map((tile) => {
      const values = tile.unit.type === "f16" ? codes : x;
      return tileCall(product, { step, x: values, scales, w, y, bias }, tile);
    })
  );
  return [...casts, ...products];
}

function tileCall(
  product: Product,
  { bias, ...buffers }: ProductBuffers & Readonly<{ w: DeviceBuffer; scales: DeviceBuffer }>,
  tile: MatrixTile,
): KernelCall<StepDims> {
  const constants = tileConstants(product, tile);
  return kernelCall(gemmSubgroupMatrix, {
    label: product.label,
    constants: { ...constants, ...productConstants(product, bias) },
    buffers: { ...buffers, bias: bias ?? buffers.step },
    workgroups: (dims) => tileGrid(product, tile, constants.OUTPUTS, dims),
  });
}

/** The constants of a tile, its unit and the type of the weights. */
function tileConstants({ n, k, dtype, epilogue = "store" }: Product, tile: MatrixTile) {
  const { rows, columns, subgroupRows, subgroupColumns, unit } = tile;
  const lanes = matrixLanes(tile);
  const fours = stagedInputs(unit) / 4;
  // 16 bytes are the widest load of a lane: two fours of 16 bits, or one of 32.
  const widest = k % 8 === 0 ? 2 : 1;
  const [xLoad, load] = [unit.type === "f16" ? widest : 1, dtype === "f32" ? 1 : widest];
  return {
    ...weightConstants(dtype, weightRows(n, epilogue), k, load),
    ...{ UNIT_TYPE: unit.type, UNIT_M: unit.m, UNIT_N: unit.n, UNIT_K: unit.k },
    ...{ ROWS: rows, COLUMNS: columns, OUTPUTS: columns / weightRows(1, epilogue) },
    ...{ SUB_ROWS: subgroupRows, SUB_COLUMNS: subgroupColumns, FOURS: fours, LANES: lanes },
    X_LOAD: xLoad,
    X_LOADS: Math.ceil(rows * fours / xLoad / lanes),
    W_LOADS: Math.ceil(columns * fours / load / lanes),
  };
}

/** Lanes of a tile's workgroup. */
export function matrixLanes(tile: MatrixTile): number {
  const { rows, columns, subgroupRows, subgroupColumns, unit } = tile;
  return unit.lanes * rows * columns / (subgroupRows * subgroupColumns);
}

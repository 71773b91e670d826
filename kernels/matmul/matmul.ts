import type { HostBuffer } from "../../src/device/host_buffer.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
  type Workgroups,
} from "../../src/device/kernel.ts";
import { isQuantized, quantizedFormat } from "../../src/core/weight_format.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import { dotProducts } from "./dot_products.ts";
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import {
  type Epilogue,
  type Finish,
  type FinishConstants,
  finishConstants,
  finishOutput,
  type Outputs,
  PRODUCT_ARGS,
  productWgsl,
  weightRows,
} from "./epilogue.ts";
import source from "./matmul.wgsl" with { type: "text" };
import invocation from "./_invocation.wgsl" with { type: "text" };
import { withLaneSums } from "./lane_sums.ts";
import tile from "./_matmul_tile.wgsl" with { type: "text" };
import { numRows, type Rows, ROWS_WORD } from "../rows.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import { type ServedRows, serves } from "../tuning/tiles.ts";
import { foldGrid, type MatmulTile, SOFTWARE_LANES, type Tuning } from "../tuning/tuning.ts";
import {
  foursPerWord,
  type WeightConstants,
  weightConstants,
  type WeightDtype,
  weightValues,
} from "../weights/weight_dtype.ts";
import { shardProducts, type WeightBuffers } from "../weights/weight_shards.ts";

/** A product's shape: the constants that all its kernels share. */
export type ProductConstants =
  & FinishConstants
  & Readonly<{
    /** Outputs and inputs. */
    N: number;
    K: number;
    ROWS_WORD: number;
  }>;

/** The template's constants: a product's shape and a tile's. */
export type MatmulShape =
  & WeightConstants
  & ProductConstants
  & Readonly<{ NORM: boolean; GATHER: boolean }>
  & Readonly<{ TILE_R: number; TILE_N: number; W: number }>
  & Readonly<{ LANES: number; SLICES: number; SUBGROUPS: boolean; RUN: number; SPAN: number }>
  /** Outputs from one of a lane to its next. */
  & Readonly<{ STRIDE: number }>;

/** What matmul, norm_matmul and the kernel for experts have in common. */
export const matmulTileWgsl: string = withLaneSums(tile);

/**
 * `y = x w^T`, `y += x w^T`, or `y = f(x gate^T) * (x up^T)` with w the gates over the ups and f an
 * activation, each with biases or without.
 *
 * x f32 [R, K], w [N, K] or [2N, K], y f32 [R, N], or N columns of longer rows; bias f32 of all
 * outputs of y's rows, and of as many ups after them. K is a multiple of 4.
 */
export const matmul: Kernel<MatmulShape> = {
  name: "matmul",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + elements + epilogue + invocation + matmulTileWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
    { name: "bias", access: "read" },
  ],
  reference: multiplyRows,
};

/** The definition of {@link matmul}. */
export function multiplyRows(
  { step, x, w, y, bias }: Readonly<Record<string, HostBuffer>>,
  shape: WeightConstants & ProductConstants,
): void {
  const { N, K, ROWS_WORD, WEIGHT_DTYPE, EPILOGUE } = shape;
  const weights = weightValues(w!, WEIGHT_DTYPE, weightRows(N, EPILOGUE), K);
  const out = { y: y!.f32, bias: bias!.f32 };
  multiply({ rows: step!.u32[ROWS_WORD]!, x: x!.f32, w: weights }, out, shape);
}

/** The same over decoded weights. */
export function multiply(
  { rows, x, w }: { rows: number; x: Float32Array; w: Float32Array },
  out: Outputs,
  shape: Omit<ProductConstants, "ROWS_WORD">,
): void {
  const { N, K, GATED } = shape;
  const weightRow = (n: number) => w.subarray(n * K, (n + 1) * K);
  const sums = new Float64Array(rows);
  const ups = new Float64Array(rows);
  const inputs = Array.from({ length: rows }, (_, r) => x.subarray(r * K, (r + 1) * K));
  for (let n = 0; n < N; n++) {
    dotProducts(inputs, weightRow(n), sums);
    if (GATED) dotProducts(inputs, weightRow(N + n), ups);
    for (let r = 0; r < rows; r++) finishOutput(shape, out, r, n, sums[r]!, ups[r]!);
  }
}

/** One matrix product of a model: `n` outputs from `k` inputs of each row. */
export interface Product extends Finish {
  readonly label: string;
  readonly rows: Rows;
  readonly n: number;
  readonly k: number;
  readonly dtype: WeightDtype;
}

/** The buffers of a product; without `bias` there is none. */
export type ProductBuffers =
  & Readonly<Record<"step" | "x" | "y", DeviceBuffer>>
  & Readonly<{ w: WeightBuffers; bias?: DeviceBuffer | undefined }>;

/**
 * One matrix product, as one call per shard of its matrix and register tile; each step runs those
 * of the tile that fits its rows.
 */
export function matmulCalls(
  whole: Product,
  { step, x, w: matrix, y, bias }: ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return shardProducts(whole, matrix).flatMap(({ product, w }) =>
    tuning.matmulTiles.map((tile) =>
      kernelCall(matmul, {
        label: product.label,
        constants: matmulShape(product, tile, tuning, { w, bias }),
        buffers: { step, x, w, y, bias: bias ?? step },
        workgroups: (dims) => matmulGrid(product, tile, dims),
      })
    )
  );
}

/** The constants of one tile's call over these weights. */
export function matmulShape(
  product: Product,
  tile: MatmulTile,
  tuning: Pick<Tuning, "matmulRun" | "matmulSubgroups">,
  { w: { isTexture = false }, bias }: { w: DeviceBuffer; bias: DeviceBuffer | undefined },
): MatmulShape {
  const { n, k, dtype, epilogue = "store" } = product;
  const { RUN, SPAN, load } = summation({ dtype, k, isTexture }, tile, tuning);
  const outputs = tileOutputs(tile, epilogue);
  return {
    ...weightConstants(dtype, weightRows(n, epilogue), k, load),
    WEIGHT_TEXTURE: isTexture,
    ...productConstants(product, bias),
    NORM: false,
    GATHER: false,
    TILE_R: tile.rows,
    TILE_N: outputs,
    W: weightRows(outputs, epilogue),
    LANES: tile.lanes,
    SLICES: tile.slices,
    STRIDE: tile.slices === 1 ? tile.lanes : 1,
    SUBGROUPS: tuning.matmulSubgroups,
    RUN,
    SPAN,
  };
}

/**
 * The constants of a product that no tile changes. The kernels of products declare `bias` only
 * where there is one; without it the binding names another buffer.
 */
export function productConstants(
  product: Product,
  bias: DeviceBuffer | undefined,
): ProductConstants {
  const { n, k, rows } = product;
  return { N: n, K: k, ROWS_WORD: ROWS_WORD[rows], ...finishConstants(product, bias) };
}

/**
 * Outputs per lane: two weight rows per output fill the registers that one would with twice as
 * many.
 */
function tileOutputs({ outputs }: MatmulTile, epilogue: Epilogue = "store"): number {
  return Math.max(1, outputs / weightRows(1, epilogue));
}

/** Inputs per scale that a lane among several takes at a time, in fours; no group is shorter. */
const SHARED_SPAN = 8;

/**
 * Fours of inputs that are summed by themselves, how many of them are unrolled, and loaded at once.
 */
function summation(
  { dtype, k, isTexture }: { dtype: WeightDtype; k: number; isTexture: boolean },
  { rows, lanes, slices }: MatmulTile,
  { matmulRun }: Pick<Tuning, "matmulRun">,
): { RUN: number; SPAN: number; load: number } {
  if (!isQuantized(dtype)) {
    // A texture's loads are short: each lane loads one vec4 per round, in a subgroup of eight
    // lanes.
    const shared = Math.min(lanes, SOFTWARE_LANES) / rows;
    const most = isTexture && slices === 1 ? Math.max(matmulRun, shared) : matmulRun;
    const run = runLength(k, most);
    return { RUN: run, SPAN: run, load: Math.min(2, run) };
  }
  const { groupSize } = quantizedFormat(dtype);
  const wordFours = foursPerWord(dtype);
  // As many bytes per load as of f16, since a CPU's loads are dear too; of a texture, whole spans.
  const most = isTexture ? SHARED_SPAN : matmulRun * 2 * wordFours;
  const run = runLength(k, Math.min(SHARED_SPAN, most));
  const span = slices === 1 ? groupSize / 4 : SHARED_SPAN;
  return { RUN: run, SPAN: span, load: Math.min(4 * wordFours, run) };
}

/** The longest run of fours, at most `most` (a power of two), that divides a row of `k` inputs. */
function runLength(k: number, most: number): number {
  return (k / 4) % most === 0 ? most : runLength(k, most / 2);
}

/** The workgroups of one register tile's call. */
export function matmulGrid(product: Product, tile: MatmulTile, dims: StepDims): Workgroups {
  return tileGrid(product, tile, tileOutputs(tile, product.epilogue) * tile.lanes, dims);
}

/**
 * The workgroups of a tile's call, each with so many outputs of `tile.rows` rows; none where the
 * tile does not serve the step's rows.
 */
export function tileGrid(
  { rows, n }: Pick<Product, "rows" | "n">,
  tile: ServedRows & { readonly rows: number },
  outputs: number,
  dims: StepDims,
): Workgroups {
  const count = numRows(rows, dims);
  if (!serves(tile, count)) return [0, 0, 0];
  const [x, z] = foldGrid(Math.ceil(n / outputs));
  return [x, Math.ceil(count / tile.rows), z];
}

import type { KernelCall } from "../../src/device/kernel.ts";
import type { StepDims } from "../step.ts";
import { tilesOf, w8a8TilesOf } from "../tuning/product_tiles.ts";
import type { ServedRows } from "../tuning/tiles.ts";
import type { Tuning } from "../tuning/tuning.ts";
import { gemm, gemmCalls } from "./gemm.ts";
import { gemmSubgroupMatrix, gemmSubgroupMatrixCalls } from "./gemm_subgroup_matrix.ts";
import { matmul, matmulCalls, type Product, type ProductBuffers } from "./matmul.ts";
import { normMatmul, normMatmulCalls, type NormProductBuffers } from "./norm_matmul.ts";
import { w8a8Gemm } from "./w8a8_gemm.ts";
import { w8a8Matmul } from "./w8a8_matmul.ts";
import {
  isW8a8,
  type QuantizedRows,
  w8a8NormProductCalls,
  w8a8ProductCalls,
} from "./w8a8_product.ts";

/** One way to compute a matrix product, and the condition under which it does. */
export interface MatmulStrategy {
  readonly name: string;
  /** Names of the kernels that write the product's outputs. */
  readonly kernels: readonly string[];
  /** Whether the strategy takes a product; it never depends on the number of rows. */
  readonly takes: (product: Pick<Product, "dtype" | "k">, tuning: Tuning) => boolean;
  /** The numbers of rows in which it runs the product `label`: those of its tiles. */
  readonly rows: (tuning: Tuning, label: string) => readonly ServedRows[];
  readonly calls: (
    product: Product,
    buffers: QuantizedRows & ProductBuffers,
    tuning: Tuning,
  ) => KernelCall<StepDims>[];
  /**
   * The calls for rows that are normalized first: into `normed`, f32 [R, K], where that is not
   * fused.
   */
  readonly normCalls: (
    product: Product & { eps: number },
    buffers: QuantizedRows & NormProductBuffers,
    tuning: Tuning,
  ) => KernelCall<StepDims>[];
}

/** Whether a product's activations stay as they are. */
const keepsActivations: MatmulStrategy["takes"] = (product, tuning) => !isW8a8(product, tuning);

/** The tuning with the tiles of one product, by its label. */
const ownTiles = (tuning: Tuning, label: string): Tuning => ({
  ...tuning,
  ...tilesOf(tuning, label),
});

/** A product's buffers where its rows are normalized already. */
const normedBuffers = ({ normed, ...buffers }: QuantizedRows & NormProductBuffers) => ({
  ...buffers,
  x: normed,
});

/**
 * All strategies. Of those that take a product, exactly one has a tile for any number of rows, and
 * runs.
 *
 *     strategy              takes                                            rows, unless tuned
 *     w8a8                  quantized weights, int8 activations, K % 32 == 0 all
 *     matmul                the others                                       1 to 8, or all
 *     gemm                  the others, on GPUs                              9 and more
 *     gemm_subgroup_matrix  the others, on GPUs with subgroup matrices       17 and more
 *
 * Deterministic tunings have no tiles for the last two. A gemm needs the norm before it:
 * `norm_matmul`'s calls write `normed` in all steps whose tile does not fuse it.
 */
export const MATMUL_STRATEGIES: readonly MatmulStrategy[] = [
  {
    name: "w8a8",
    kernels: [w8a8Matmul.name, w8a8Gemm.name],
    takes: isW8a8,
    rows: (tuning, label) => {
      const { tiles, gemmTiles } = w8a8TilesOf(tuning, label);
      return [...tiles, ...gemmTiles];
    },
    calls: w8a8ProductCalls,
    normCalls: w8a8NormProductCalls,
  },
  {
    name: "matmul",
    kernels: [matmul.name, normMatmul.name],
    takes: keepsActivations,
    rows: (tuning, label) => tilesOf(tuning, label).matmulTiles,
    calls: (product, buffers, tuning) =>
      matmulCalls(product, buffers, ownTiles(tuning, product.label)),
    normCalls: (product, buffers, tuning) =>
      normMatmulCalls(product, buffers, ownTiles(tuning, product.label)),
  },
  {
    name: "gemm",
    kernels: [gemm.name],
    takes: keepsActivations,
    rows: (tuning, label) => tilesOf(tuning, label).gemmTiles,
    calls: (product, buffers, tuning) =>
      gemmCalls(product, buffers, ownTiles(tuning, product.label)),
    normCalls: (product, buffers, tuning) =>
      gemmCalls(product, normedBuffers(buffers), ownTiles(tuning, product.label)),
  },
  {
    name: "gemm_subgroup_matrix",
    kernels: [gemmSubgroupMatrix.name],
    takes: keepsActivations,
    rows: (tuning, label) => tilesOf(tuning, label).matrixTiles,
    calls: (product, buffers, tuning) =>
      gemmSubgroupMatrixCalls(product, buffers, ownTiles(tuning, product.label)),
    normCalls: (product, buffers, tuning) =>
      gemmSubgroupMatrixCalls(product, normedBuffers(buffers), ownTiles(tuning, product.label)),
  },
];

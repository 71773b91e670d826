import type { KernelCall } from "../../src/device/kernel.ts";
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
import { tilesOf } from "../tuning/product_tiles.ts";
import { ROWS_WORD } from "../rows.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for them
 * `gemm` or `gemm_subgroup_matrix` for many. Exactly one of their calls for each shard of the matrix runs in a step.
 * All calls bear the product's label. Where the product {@link isW8a8}, and for `gemm_subgroup_matrix`, its rows
 * become `codes` and `scales` first, which products one after the other may share.
 */
export function productCalls(
  product: Product,
  buffers: QuantizedRows & ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isW8a8(product, tuning)) return w8a8ProductCalls(product, buffers, tuning);
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...matmulCalls(product, buffers, own),
    ...gemmCalls(product, buffers, own),
    ...gemmSubgroupMatrixCalls(product, buffers, own),
  ];
}

/** {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not fused. */
export function normProductCalls(
  product: Product & { eps: number },
  buffers: QuantizedRows & NormProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isW8a8(product, tuning)) return w8a8NormProductCalls(product, buffers, tuning);
  const { step, normed: x, codes, scales, w, y } = buffers;
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...normMatmulCalls(product, buffers, own),
    ...gemmCalls(product, { step, x, w, y }, own),
    ...gemmSubgroupMatrixCalls(product, { step, x, codes, scales, w, y }, own),
  ];
}

/** What a call computes a part of: a product's shape, and which rows of a step it has. */
export interface ProductCall extends Pick<Product, "label" | "rows" | "n" | "k"> {
  readonly dtype: string;
  /** Whether its activations are int8. */
  readonly isW8a8: boolean;
}

/** The product that a call belongs to, the whole of it where its matrix is in shards; undefined for the call of another kernel. */
export function productOf(
  { label, kernelName, constants }: KernelCall<StepDims>,
): ProductCall | undefined {
  const isW8a8 = [w8a8Matmul.name, w8a8Gemm.name].includes(kernelName);
  const plain = [matmul.name, normMatmul.name, gemm.name, gemmSubgroupMatrix.name];
  if (!isW8a8 && !plain.includes(kernelName)) {
    return undefined;
  }
  const { Y_STRIDE, K, WEIGHT_DTYPE, ROWS_WORD: word } = constants;
  const rows = word === ROWS_WORD.samples ? "samples" : "tokens";
  const [n, k, dtype] = [Number(Y_STRIDE), Number(K), String(WEIGHT_DTYPE)];
  return { label, rows, n, k, dtype, isW8a8 };
}

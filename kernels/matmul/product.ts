import type { KernelCall } from "../../src/device/kernel.ts";
import { gemm, gemmCalls } from "./gemm.ts";
import { matrixGemm, matrixGemmCalls } from "./matrix_gemm.ts";
import { matmul, matmulCalls, type Product, type ProductBuffers } from "./matmul.ts";
import { normMatmul, normMatmulCalls, type NormProductBuffers } from "./norm_matmul.ts";
import { packedGemm } from "./packed_gemm.ts";
import { packedMatmul } from "./packed_matmul.ts";
import {
  isPacked,
  packedNormProductCalls,
  packedProductCalls,
  type QuantizedRows,
} from "./packed_product.ts";
import { tilesOf } from "../tuning/product_tiles.ts";
import { ROWS_WORD } from "../rows.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";

/**
 * One matrix product for any number of rows: `matmul` for few, and where the tuning has tiles for them
 * `gemm` or `matrix_gemm` for many. Exactly one of their calls for each part of the matrix runs in a step.
 * All calls bear the product's label. Where the product {@link isPacked}, and for `matrix_gemm`, its rows
 * become `codes` and `scales` first, which products one after the other may share.
 */
export function productCalls(
  product: Product,
  buffers: QuantizedRows & ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isPacked(product, tuning)) return packedProductCalls(product, buffers, tuning);
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...matmulCalls(product, buffers, own),
    ...gemmCalls(product, buffers, own),
    ...matrixGemmCalls(product, buffers, own),
  ];
}

/** {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not fused. */
export function normProductCalls(
  product: Product & { eps: number },
  buffers: QuantizedRows & NormProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  if (isPacked(product, tuning)) return packedNormProductCalls(product, buffers, tuning);
  const { step, normed: x, codes, scales, w, y } = buffers;
  const own = { ...tuning, ...tilesOf(tuning, product.label) };
  return [
    ...normMatmulCalls(product, buffers, own),
    ...gemmCalls(product, { step, x, w, y }, own),
    ...matrixGemmCalls(product, { step, x, codes, scales, w, y }, own),
  ];
}

/** What a call computes a part of: a product's shape, and which rows of a step it has. */
export interface ProductCall extends Pick<Product, "label" | "rows" | "n" | "k"> {
  readonly dtype: string;
  /** Whether its activations are int8. */
  readonly isPacked: boolean;
}

/** The product that a call belongs to, the whole of it where its matrix is in parts; undefined for the call of another kernel. */
export function productOf(
  { label, kernelName, constants }: KernelCall<StepDims>,
): ProductCall | undefined {
  const isPacked = [packedMatmul.name, packedGemm.name].includes(kernelName);
  const plain = [matmul.name, normMatmul.name, gemm.name, matrixGemm.name];
  if (!isPacked && !plain.includes(kernelName)) {
    return undefined;
  }
  const { Y_STRIDE, K, WEIGHT_DTYPE, ROWS_WORD: word } = constants;
  const rows = word === ROWS_WORD.samples ? "samples" : "tokens";
  const [n, k, dtype] = [Number(Y_STRIDE), Number(K), String(WEIGHT_DTYPE)];
  return { label, rows, n, k, dtype, isPacked };
}

import type { KernelCall } from "../../src/device/kernel.ts";
import { ROWS_WORD } from "../rows.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";
import type { Product, ProductBuffers } from "./matmul.ts";
import type { NormProductBuffers } from "./norm_matmul.ts";
import { MATMUL_STRATEGIES } from "./strategies.ts";
import type { QuantizedRows } from "./w8a8_product.ts";

/**
 * One matrix product for any number of rows: the calls of every strategy that takes it, of which
 * exactly one for each shard of the matrix runs in a step. All bear the product's label. Strategies
 * that convert the rows use `codes` and `scales`, which products one after the other may share.
 */
export function productCalls(
  product: Product,
  buffers: QuantizedRows & ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return MATMUL_STRATEGIES.filter(({ takes }) => takes(product, tuning))
    .flatMap(({ calls }) => calls(product, buffers, tuning));
}

/**
 * {@link productCalls} of normalized rows: `normed`, f32 [R, K], holds them where that is not
 * fused.
 */
export function normProductCalls(
  product: Product & { eps: number },
  buffers: QuantizedRows & NormProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return MATMUL_STRATEGIES.filter(({ takes }) => takes(product, tuning))
    .flatMap(({ normCalls }) => normCalls(product, buffers, tuning));
}

/** The product that a call belongs to, and which rows of a step it has. */
export interface ProductCall extends Pick<Product, "label" | "rows" | "n" | "k"> {
  readonly dtype: string;
  /** Whether its activations are int8. */
  readonly isW8a8: boolean;
}

/**
 * The product of a call, the whole of it where its matrix is in shards; undefined for other
 * kernels' calls.
 */
export function productOf(
  { label, kernelName, constants }: KernelCall<StepDims>,
): ProductCall | undefined {
  const strategy = MATMUL_STRATEGIES.find(({ kernels }) => kernels.includes(kernelName));
  if (strategy === undefined) return undefined;
  const { Y_STRIDE, K, WEIGHT_DTYPE, ROWS_WORD: word } = constants;
  const rows = word === ROWS_WORD.draws ? "draws" : "tokens";
  const [n, k, dtype] = [Number(Y_STRIDE), Number(K), String(WEIGHT_DTYPE)];
  return { label, rows, n, k, dtype, isW8a8: strategy.name === "w8a8" };
}

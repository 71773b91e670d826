import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import { PRODUCT_ARGS, productWgsl, weightRows } from "./epilogue.ts";
import {
  matmul,
  matmulGrid,
  type MatmulShape,
  matmulShape,
  matmulTileWgsl,
  multiply,
  type Product,
  type ProductBuffers,
} from "./matmul.ts";
import invocation from "./_invocation.wgsl" with { type: "text" };
import source from "./norm_matmul.wgsl" with { type: "text" };
import { normalizedRows, rmsNormCall } from "../norm/rms_norm.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import { serves } from "../tuning/tiles.ts";
import type { Tuning } from "../tuning/tuning.ts";
import { weightValues } from "../weights/weight_dtype.ts";
import { shardProducts } from "../weights/weight_shards.ts";

type Shape = MatmulShape & Readonly<{ EPS: number }>;

/** {@link matmul} of normalized rows; with `GATHER`, of those that are drawn from. */
export const normMatmul: Kernel<Shape> = {
  name: "norm_matmul",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + elements + epilogue + invocation + matmulTileWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "norm", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
    { name: "bias", access: "read" },
  ],
  reference({ step, x, norm, w, y, bias }, shape) {
    const { K, ROWS_WORD, GATHER, EPS } = shape;
    const rows = step!.u32[ROWS_WORD]!;
    const norms = { rows, k: K, eps: EPS, isGathered: GATHER };
    const normed = normalizedRows(step!.u32, x!.f32, norm!.f32, norms);
    const weights = weightValues(w!, shape.WEIGHT_DTYPE, weightRows(shape.N, shape.EPILOGUE), K);
    multiply({ rows, x: normed, w: weights }, { y: y!.f32, bias: bias!.f32 }, shape);
  },
};

/** The buffers of a product of normalized rows. */
export type NormProductBuffers =
  & ProductBuffers
  & Readonly<Record<"norm" | "normed", DeviceBuffer>>;

/**
 * A matrix product of normalized rows: in one call for the tiles that fuse the norm, for the others
 * through `normed`, f32 [R, K]. Rows that are drawn from are gathered with the norm.
 */
export function normMatmulCalls(
  { eps, ...whole }: Product & { eps: number },
  { step, x, norm, normed, w: matrix, y, bias }: NormProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { label, rows, k } = whole;
  const isFused = (count: number) =>
    tuning.matmulTiles.some((tile) => tile.fusesNorm && serves(tile, count));
  const norms = rmsNormCall(
    { label, rows, E: k, EPS: eps, LANES: tuning.normLanes, skip: isFused },
    { step, x, weight: norm, out: normed },
  );
  const products = shardProducts(whole, matrix).flatMap(({ product, w }) =>
    tuning.matmulTiles.map((tile) => {
      const shape = matmulShape(product, tile, tuning, { w, bias });
      const workgroups = (dims: StepDims) => matmulGrid(product, tile, dims);
      const buffers = { step, w, y, bias: bias ?? step };
      if (!tile.fusesNorm) {
        const call = { label, constants: shape, buffers: { ...buffers, x: normed }, workgroups };
        return kernelCall(matmul, call);
      }
      const constants = { ...shape, NORM: true, GATHER: rows === "draws", EPS: eps };
      const call = { label, constants, buffers: { ...buffers, x, norm }, workgroups };
      return kernelCall(normMatmul, call);
    })
  );
  return [norms, ...products];
}

import { isQuantized, quantizedFormat, type WeightDtype } from "../../src/core/weight_format.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import {
  type Product,
  type ProductBuffers,
  type ProductConstants,
  productConstants,
  tileGrid,
} from "./matmul.ts";
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import { finishOutput, PRODUCT_ARGS, productWgsl, weightRows } from "./epilogue.ts";
import invocation from "./_invocation.wgsl" with { type: "text" };
import { withLaneSums } from "./lane_sums.ts";
import source from "./w8a8_matmul.wgsl" with { type: "text" };
import type { W8a8Tile } from "../tuning/w8a8_tuning.ts";
import weights from "./_w8a8_weights.wgsl" with { type: "text" };
import { SPAN_INPUTS } from "./quantize_rows.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";
import {
  codeValues,
  type WeightConstants,
  weightConstants,
  weightScales,
} from "../weights/weight_dtype.ts";
import { shardProducts } from "../weights/weight_shards.ts";

/** A product's shape, as the templates of both kernels of int8 activations want it. */
export type W8a8Constants = WeightConstants & ProductConstants;

type Shape =
  & W8a8Constants
  & Readonly<{ TILE_R: number; TILE_N: number; W: number }>
  & Readonly<{ LANES: number; SLICES: number; SUBGROUPS: boolean; RUN: number }>;

/**
 * The buffers of a product of int8 activations: `codes` i8 [R, K] and `scales` f32 [R, K / 32] for
 * x.
 */
export type W8a8ProductBuffers =
  & Omit<ProductBuffers, "x">
  & Readonly<Record<"codes" | "scales", DeviceBuffer>>;

/**
 * `matmul` of rows that `quantize_rows` turned into codes: integer sums over spans of
 * inputs, each scaled once.
 *
 * K is a multiple of 32, and w is quantized.
 */
export const w8a8Matmul: Kernel<Shape> = {
  name: "w8a8_matmul",
  args: PRODUCT_ARGS,
  source: stepWgsl + productWgsl + weights + epilogue + invocation + withLaneSums(source),
  bindings: [
    { name: "step", access: "read" },
    { name: "codes", access: "read" },
    { name: "scales", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
    { name: "bias", access: "read" },
  ],
  reference: multiplyCodes,
};

/** The definition of {@link w8a8Matmul}; sums of spans are exact, and added up in f64. */
export function multiplyCodes(
  { step, codes, scales, w, y, bias }: Readonly<Record<string, HostBuffer>>,
  shape: W8a8Constants,
): void {
  const { N, K, ROWS_WORD, WEIGHT_DTYPE, EPILOGUE, GATED } = shape;
  const rows = step!.u32[ROWS_WORD]!;
  const x = { codes: new Int8Array(codes!.u8.buffer), scales: scales!.f32, spanGroup: 1 };
  const matrix = {
    codes: codeValues(w!, WEIGHT_DTYPE, weightRows(N, EPILOGUE), K),
    scales: weightScales(w!, WEIGHT_DTYPE, weightRows(N, EPILOGUE), K),
    spanGroup: groupOf(WEIGHT_DTYPE) / SPAN_INPUTS,
  };
  const out = { y: y!.f32, bias: bias!.f32 };
  for (let n = 0; n < N; n++) {
    for (let r = 0; r < rows; r++) {
      const sum = spanSums(x, r, matrix, n, K);
      finishOutput(shape, out, r, n, sum, GATED ? spanSums(x, r, matrix, N + n, K) : 0);
    }
  }
}

/**
 * Rows of codes, and a scale per group of `spanGroup` spans; the last group of a row may be
 * shorter.
 */
interface CodedRows {
  readonly codes: Int8Array | Float32Array;
  readonly scales: Float32Array;
  readonly spanGroup: number;
}

/** `sum_j scales x codes` of row r of x with row n of w, K inputs each. */
function spanSums(x: CodedRows, r: number, w: CodedRows, n: number, k: number): number {
  const numSpans = k / SPAN_INPUTS;
  const scaleOf = (rows: CodedRows, row: number, span: number) =>
    rows.scales[row * Math.ceil(numSpans / rows.spanGroup) + Math.floor(span / rows.spanGroup)]!;
  let total = 0;
  for (let span = 0; span < numSpans; span++) {
    const [a, b] = [r * k + span * SPAN_INPUTS, n * k + span * SPAN_INPUTS];
    let sum = 0;
    for (let i = 0; i < SPAN_INPUTS; i++) sum += x.codes[a + i]! * w.codes[b + i]!;
    total += sum * scaleOf(x, r, span) * scaleOf(w, n, span);
  }
  return total;
}

function groupOf(dtype: WeightDtype): number {
  return isQuantized(dtype) ? quantizedFormat(dtype).groupSize : SPAN_INPUTS;
}

/** The constants of a product that both kernels share and no tile changes. */
export function w8a8Constants(
  product: Product,
  { w: { isTexture = false }, bias }: { w: DeviceBuffer; bias?: DeviceBuffer | undefined },
): W8a8Constants {
  const { n, k, dtype, epilogue = "store" } = product;
  // 16 bytes per load.
  const load = isQuantized(dtype) ? 32 / quantizedFormat(dtype).bits : 1;
  return {
    ...weightConstants(dtype, weightRows(n, epilogue), k, load),
    WEIGHT_TEXTURE: isTexture,
    ...productConstants(product, bias),
  };
}

/**
 * One product of int8 activations, as one call per shard of its matrix and register tile; each step
 * runs those of the tile that fits.
 */
export function w8a8MatmulCalls(
  product: Product,
  { step, codes, scales, w: matrix, y, bias }: W8a8ProductBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return shardProducts(product, matrix)
    .flatMap(({ product, w }) => shardCalls(product, { step, codes, scales, w, y, bias }, tuning));
}

function shardCalls(
  product: Product,
  buffers: W8a8ProductBuffers & Readonly<{ w: DeviceBuffer }>,
  { w8a8, matmulSubgroups }: Tuning,
): KernelCall<StepDims>[] {
  const { label, k, epilogue = "store" } = product;
  return w8a8.tiles.map((tile) => {
    const outputs = Math.max(1, tile.outputs / weightRows(1, epilogue));
    return kernelCall(w8a8Matmul, {
      label,
      constants: {
        ...w8a8Constants(product, buffers),
        TILE_R: tile.rows,
        TILE_N: outputs,
        W: weightRows(outputs, epilogue),
        LANES: tile.lanes,
        SLICES: w8a8.slices,
        SUBGROUPS: matmulSubgroups,
        RUN: spansInHand(k, tile, w8a8.slices),
      },
      buffers: { ...buffers, bias: buffers.bias ?? buffers.step },
      workgroups: (dims) => tileGrid(product, tile, outputs * tile.lanes, dims),
    });
  });
}

/**
 * As many spans as the tile says where every lane of `slices` has a multiple of them, and else one.
 */
function spansInHand(k: number, { run }: W8a8Tile, slices: number): number {
  return (k / SPAN_INPUTS) % (slices * run) === 0 ? run : 1;
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import type { Product } from "./matmul.ts";
import epilogue from "./_epilogue.wgsl" with { type: "text" };
import source from "./packed_gemm.wgsl" with { type: "text" };
import {
  multiplyCodes,
  type PackedConstants,
  packedConstants,
  packedMatmul,
  type PackedProductBuffers,
} from "./packed_matmul.ts";
import { PACKED_SLICES, type PackedGemmTile } from "../tuning/packed_tuning.ts";
import weights from "./_packed_weights.wgsl" with { type: "text" };
import { numRows } from "../rows.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import { foldGrid, type Tuning } from "../tuning/tuning.ts";
import { partProducts } from "../weights/weight_parts.ts";

type Shape =
  & PackedConstants
  & Readonly<{ ROWS: number; COLUMNS: number; OUTPUTS: number; LANES: number }>
  & Readonly<{ TILE_R: number; TILE_M: number; TILE_N: number }>;

/** {@link packedMatmul} for many rows: the same definition, bit by bit, by tiles in shared memory. */
export const packedGemm: Kernel<Shape> = {
  name: "packed_gemm",
  source: stepWgsl + weights + epilogue + source,
  bindings: packedMatmul.bindings,
  reference: multiplyCodes,
};

/**
 * One product of int8 activations, as one call per part of its matrix and tile; each step runs those of
 * the tile that fits its rows.
 */
export function packedGemmCalls(
  product: Product,
  { step, codes, scales, w: matrix, y }: PackedProductBuffers,
  tuning: Pick<Tuning, "packed">,
): KernelCall<StepDims>[] {
  return partProducts(product, matrix)
    .flatMap(({ product, w }) => partCalls(product, { step, codes, scales, w, y }, tuning));
}

function partCalls(
  product: Product,
  buffers: PackedProductBuffers & Readonly<{ w: DeviceBuffer }>,
  { packed }: Pick<Tuning, "packed">,
): KernelCall<StepDims>[] {
  const { label, rows, n, epilogue } = product;
  return packed.gemmTiles.map((tile) => {
    const share = epilogue === "silu" ? 2 : 1;
    const outputs = tile.columns / share;
    return kernelCall(packedGemm, {
      label,
      constants: {
        ...packedConstants(product, {}),
        ROWS: tile.rows,
        COLUMNS: tile.columns,
        OUTPUTS: outputs,
        LANES: packedGemmLanes(tile),
        TILE_R: tile.laneRows,
        TILE_M: tile.laneColumns,
        TILE_N: tile.laneColumns / share,
      },
      buffers,
      workgroups: (dims) => {
        const count = numRows(rows, dims);
        if (count < tile.minRows || count > tile.maxRows) return [0, 0, 0];
        const [x, z] = foldGrid(Math.ceil(n / outputs));
        return [x, Math.ceil(count / tile.rows), z];
      },
    });
  });
}

/** Lanes of a tile's workgroup; WebGPU promises 256. */
export function packedGemmLanes({ rows, columns, laneRows, laneColumns }: PackedGemmTile): number {
  return PACKED_SLICES * rows * columns / (laneRows * laneColumns);
}

/** Bytes of shared memory of a tile's workgroup; WebGPU promises 16,384. */
export function packedGemmBytes({ rows, columns }: PackedGemmTile): number {
  const stagedRow = 16 * (2 * PACKED_SLICES + 1);
  return (rows + columns) * (stagedRow + 4 * PACKED_SLICES);
}

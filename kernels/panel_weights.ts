import { isQuantized, matrixBytes, type WeightDtype } from "../src/core/weight_format.ts";
import type { HostBuffer } from "../src/device/host_buffer.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import source from "./panel_weights.wgsl" with { type: "text" };

/** Rows of a panel: as many as lanes read it side by side. */
export const PANEL_ROWS = 8;
/** Bytes of a texel. */
const TEXEL_BYTES = 16;

/** A matrix in 16-byte pieces. */
export type PanelShape = Readonly<{ ROWS: number; PIECES: number }>;

/** Texels of the image of a matrix. */
export interface PanelExtent {
  readonly width: number;
  readonly height: number;
}

/**
 * A matrix as an image in panels of {@link PANEL_ROWS} rows, the same piece of all of them side by side:
 * what eight lanes with a row each read at a time is then adjacent.
 */
export const panelWeights: Kernel<PanelShape> = {
  name: "panel_weights",
  source,
  bindings: [
    { name: "w", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference({ w, out }, { ROWS, PIECES }) {
    for (let row = 0; row < ROWS; row++) {
      for (let piece = 0; piece < PIECES; piece++) {
        const from = (row * PIECES + piece) * TEXEL_BYTES;
        const to = texelOf(row, piece, PIECES) * TEXEL_BYTES;
        out!.u8.set(w!.u8.subarray(from, from + TEXEL_BYTES), to);
      }
    }
  },
};

/** The image that a matrix fills; undefined for one that is quantized, or whose rows are no whole texels. */
export function panelExtent(
  dtype: WeightDtype,
  rows: number,
  columns: number,
): PanelExtent | undefined {
  const rowBytes = matrixBytes(dtype, 1, columns);
  if (isQuantized(dtype) || rowBytes % TEXEL_BYTES !== 0) return undefined;
  return {
    width: rowBytes / TEXEL_BYTES * PANEL_ROWS,
    height: Math.ceil(rows / PANEL_ROWS),
  };
}

/** Fills the image `out`, of {@link panelExtent}, with the rows of `w`. */
export function panelWeightsCall(
  { dtype, rows, columns }: { dtype: WeightDtype; rows: number; columns: number },
  buffers: Readonly<Record<"w" | "out", DeviceBuffer>>,
): KernelCall<unknown> {
  const PIECES = matrixBytes(dtype, 1, columns) / TEXEL_BYTES;
  return kernelCall(panelWeights, {
    constants: { ROWS: rows, PIECES },
    buffers,
    workgroups: () => [PIECES, Math.ceil(rows / PANEL_ROWS), 1] as const,
  });
}

/** The matrix's rows, one after the other, from its image. */
export function unpanelled(
  image: HostBuffer,
  { ROWS, PIECES }: PanelShape,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ROWS * PIECES * TEXEL_BYTES);
  for (let row = 0; row < ROWS; row++) {
    for (let piece = 0; piece < PIECES; piece++) {
      const from = texelOf(row, piece, PIECES) * TEXEL_BYTES;
      const to = (row * PIECES + piece) * TEXEL_BYTES;
      bytes.set(image.u8.subarray(from, from + TEXEL_BYTES), to);
    }
  }
  return bytes;
}

function texelOf(row: number, piece: number, pieces: number): number {
  return (Math.floor(row / PANEL_ROWS) * pieces + piece) * PANEL_ROWS + row % PANEL_ROWS;
}

import {
  isQuantized,
  matrixBytes,
  quantizedLayout,
  type WeightDtype,
} from "../../src/core/weight_format.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import source from "./panel_weights.wgsl" with { type: "text" };

/** Rows of a panel: as many as lanes read it side by side. */
export const PANEL_ROWS = 8;
/** Matrices of all sizes share the pipeline. */
const ARGS = ["ROWS", "PIECES", "SCALE_WORDS"] as const;
/** Bytes of a texel. */
const TEXEL_BYTES = 16;

/**
 * A matrix in 16-byte pieces: in memory rows of codes or weights, and below them the scales of each
 * row.
 */
export type PanelShape = Readonly<{
  ROWS: number;
  /** Pieces of a row's weights or codes. */
  PIECES: number;
  /** Words of a row's scales; in the texture whole pieces after the codes. 0 for plain weights. */
  SCALE_WORDS: number;
}>;

/** Texels of the texture of a matrix. */
export interface PanelExtent {
  readonly width: number;
  readonly height: number;
}

/**
 * A matrix as a texture in panels of {@link PANEL_ROWS} rows, the same piece of all of them side by
 * side: what eight lanes with a row each read at a time is then adjacent.
 */
export const panelWeights: Kernel<PanelShape> = {
  name: "panel_weights",
  source: argsWgsl(ARGS) + source,
  args: ARGS,
  bindings: [
    { name: "w", access: "read" },
    { name: "out", access: "read_write" },
  ],
  reference: ({ w, out }, shape) =>
    eachRow(shape, (from, to, bytes) => out!.u8.set(w!.u8.subarray(from, from + bytes), to)),
};

/** The pieces of a matrix; undefined for one whose rows are no whole texels. */
export function panelShape(
  dtype: WeightDtype,
  rows: number,
  columns: number,
): PanelShape | undefined {
  const layout = isQuantized(dtype) ? quantizedLayout(dtype, rows, columns) : undefined;
  const rowBytes = layout === undefined ? matrixBytes(dtype, 1, columns) : 4 * layout.rowWords;
  if (rowBytes % TEXEL_BYTES !== 0) return undefined;
  return { ROWS: rows, PIECES: rowBytes / TEXEL_BYTES, SCALE_WORDS: layout?.scaleRowWords ?? 0 };
}

/** The texture that a matrix fills; undefined for one whose rows are no whole texels. */
export function panelExtent(
  dtype: WeightDtype,
  rows: number,
  columns: number,
): PanelExtent | undefined {
  const shape = panelShape(dtype, rows, columns);
  return shape && {
    width: piecesOf(shape) * PANEL_ROWS,
    height: Math.ceil(rows / PANEL_ROWS),
  };
}

/** Fills the texture `out`, of {@link panelExtent}, with the rows of `w`. */
export function panelWeightsCall(
  { dtype, rows, columns }: { dtype: WeightDtype; rows: number; columns: number },
  buffers: Readonly<Record<"w" | "out", DeviceBuffer>>,
): KernelCall<unknown> {
  const constants = panelShape(dtype, rows, columns)!;
  return kernelCall(panelWeights, {
    constants,
    buffers,
    workgroups: () => [piecesOf(constants), Math.ceil(rows / PANEL_ROWS), 1] as const,
  });
}

/** The matrix as it was in memory, from its texture. */
export function unpanelled(texture: HostBuffer, shape: PanelShape): Uint8Array<ArrayBuffer> {
  const { ROWS, PIECES, SCALE_WORDS } = shape;
  const bytes = new Uint8Array(ROWS * (PIECES * TEXEL_BYTES + 4 * SCALE_WORDS));
  eachRow(shape, (from, to, length) => bytes.set(texture.u8.subarray(to, to + length), from));
  return bytes;
}

/**
 * Calls `move` for what lies together of each row: from which byte in memory, to which of the
 * texture.
 */
function eachRow(
  shape: PanelShape,
  move: (from: number, to: number, bytes: number) => void,
): void {
  const { ROWS, PIECES, SCALE_WORDS } = shape;
  const pieces = piecesOf(shape);
  for (let row = 0; row < ROWS; row++) {
    for (let piece = 0; piece < pieces; piece++) {
      const scale = 4 * (piece - PIECES);
      const from = scale < 0
        ? (row * PIECES + piece) * TEXEL_BYTES
        : ROWS * PIECES * TEXEL_BYTES + 4 * (row * SCALE_WORDS + scale);
      const bytes = scale < 0 ? TEXEL_BYTES : 4 * Math.min(4, SCALE_WORDS - scale);
      move(from, texelOf(row, piece, pieces) * TEXEL_BYTES, bytes);
    }
  }
}

function piecesOf({ PIECES, SCALE_WORDS }: PanelShape): number {
  return PIECES + Math.ceil(SCALE_WORDS / 4);
}

function texelOf(row: number, piece: number, pieces: number): number {
  return (Math.floor(row / PANEL_ROWS) * pieces + piece) * PANEL_ROWS + row % PANEL_ROWS;
}

import type { BlockTile, RegisterTile } from "./tiles.ts";

// W8A8: products whose weights and activations are both codes of 8 bits at most; int4 weights count
// too.

/** A tile of `w8a8_matmul`. */
export interface W8a8Tile extends RegisterTile {
  /** Spans of inputs that a lane loads at a time, a power of two; where a row allows. */
  readonly run: number;
}

/**
 * A tile of `w8a8_gemm`: `rows` and `columns` are at least `laneRows * laneColumns`, and
 * `laneColumns` is a multiple of 4 and at least `columns / 8`.
 */
export type W8a8GemmTile = BlockTile;

/** The tiles of a matrix product of int8 activations; exactly one serves any number of rows. */
export interface W8a8Tiles {
  readonly tiles: readonly W8a8Tile[];
  /** These need {@link W8A8_SLICES} slices. */
  readonly gemmTiles: readonly W8a8GemmTile[];
}

/** Shapes of the kernels that multiply int8 activations. */
export interface W8a8Tuning extends W8a8Tiles {
  /**
   * Sums into which the spans of an output are dealt out in turn, 1 or {@link W8A8_SLICES}. The
   * same for all tiles, also those of `w8a8_gemm`, so that every tile gives an output the same
   * bits.
   */
  readonly slices: number;
  /** Products, by their label, with tiles of their own. */
  readonly productTiles?: Readonly<Record<string, W8a8Tiles>>;
  /** Lanes per workgroup of `quantize_rows`. */
  readonly quantizeLanes: number;
}

/** Slices where lanes share a tile's inputs: a tree of two levels adds them up. */
export const W8A8_SLICES = 4;

/** For adapters whose threads are CPU threads. */
export const SOFTWARE_W8A8: W8a8Tuning = {
  slices: 1,
  tiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 8, lanes: 8, run: 1 },
    { minRows: 2, maxRows: 4, rows: 4, outputs: 8, lanes: 8, run: 1 },
    { minRows: 5, maxRows: Infinity, rows: 8, outputs: 4, lanes: 8, run: 1 },
  ],
  gemmTiles: [],
  quantizeLanes: 8,
};

/** For GPUs: 16 tiles of four lanes, each lane with 128 bytes of weights in flight. */
export const GPU_W8A8: W8a8Tuning = {
  slices: W8A8_SLICES,
  tiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 1, lanes: 16, run: 4 },
    { minRows: 2, maxRows: 2, rows: 2, outputs: 2, lanes: 16, run: 2 },
    { minRows: 3, maxRows: 4, rows: 4, outputs: 2, lanes: 16, run: 1 },
    { minRows: 5, maxRows: 8, rows: 8, outputs: 2, lanes: 16, run: 1 },
  ],
  gemmTiles: [
    { minRows: 9, maxRows: 16, rows: 16, columns: 32, laneRows: 4, laneColumns: 4 },
    { minRows: 17, maxRows: 64, rows: 32, columns: 32, laneRows: 4, laneColumns: 4 },
    { minRows: 65, maxRows: Infinity, rows: 64, columns: 32, laneRows: 4, laneColumns: 8 },
  ],
  quantizeLanes: 64,
};

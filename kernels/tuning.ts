/** A register tile of `matmul` and the number of rows it serves, `[minRows, maxRows]`. */
export interface MatmulTile {
  readonly minRows: number;
  readonly maxRows: number;
  /** Rows per lane. */
  readonly rows: number;
  /** Outputs per lane. */
  readonly outputs: number;
  /** Lanes along the outputs per workgroup. */
  readonly lanes: number;
  /**
   * Lanes that share one tile's inputs; 1 needs no barrier. The same for all tiles of a tuning: it
   * decides the order of additions, which must not depend on the number of rows.
   */
  readonly slices: number;
}

/** Shapes of workgroups and tiles. They change speed and rounding, never meaning. */
export interface Tuning {
  readonly matmulTiles: readonly MatmulTile[];
  /** Lanes that reduce one row in `rms_norm` and in `sample_tokens`. */
  readonly normLanes: number;
  readonly sampleLanes: number;
  /** Positions per split of a decode's context; fixed, so that results do not depend on the batch. */
  readonly splitLen: number;
  /** Splits per workgroup of decode attention. */
  readonly splitsPerWorkgroup: number;
  /** Query rows per tile of prefill attention. */
  readonly queryTile: number;
  /** Positions of one softmax update in attention; divides the block size. */
  readonly positionTile: number;
}

/**
 * For adapters whose threads are CPU threads: one SIMD vector of lanes, no barriers, little code, since
 * wake-ups, coroutines and compilation are what costs there.
 */
export const SOFTWARE_TUNING: Tuning = {
  matmulTiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 4, lanes: 8, slices: 1 },
    { minRows: 2, maxRows: 4, rows: 4, outputs: 4, lanes: 8, slices: 1 },
    { minRows: 5, maxRows: Infinity, rows: 8, outputs: 8, lanes: 8, slices: 1 },
  ],
  normLanes: 8,
  // llvmpipe ends a lane's loops, all of them together, after 65,535 turns, without a word: a draw with
  // every filter and log-probability goes over the vocabulary ninety times.
  sampleLanes: 256,
  splitLen: 32,
  splitsPerWorkgroup: 8,
  queryTile: 8,
  positionTile: 4,
};

/** For GPUs: wide workgroups, the inputs of one output shared among lanes. */
export const GPU_TUNING: Tuning = {
  matmulTiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 4, lanes: 4, slices: 16 },
    { minRows: 2, maxRows: 4, rows: 4, outputs: 4, lanes: 4, slices: 16 },
    { minRows: 5, maxRows: Infinity, rows: 8, outputs: 4, lanes: 4, slices: 16 },
  ],
  normLanes: 64,
  sampleLanes: 256,
  splitLen: 64,
  splitsPerWorkgroup: 16,
  queryTile: 16,
  positionTile: 4,
};

/** Most workgroups along one axis that every adapter allows. */
const MAX_GRID = 65535;

/** Splits `count` workgroups over x and z, `x * z >= count`; kernels skip the surplus. */
export function foldGrid(count: number): readonly [x: number, z: number] {
  const z = Math.ceil(count / MAX_GRID);
  return [Math.ceil(count / z), z];
}

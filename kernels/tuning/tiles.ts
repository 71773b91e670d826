/** Numbers of rows, `[minRows, maxRows]`. */
export interface ServedRows {
  readonly minRows: number;
  readonly maxRows: number;
}

/** Whether a step of `rows` rows runs on a tile for this range. */
export function serves({ minRows, maxRows }: ServedRows, rows: number): boolean {
  return minRows <= rows && rows <= maxRows;
}

/** A tile of sums in a lane's registers, and the numbers of rows it serves. */
export interface RegisterTile extends ServedRows {
  /** Rows and outputs per lane. */
  readonly rows: number;
  readonly outputs: number;
  /** Tiles per workgroup, along the outputs. */
  readonly lanes: number;
}

/** A tile of a workgroup, staged in its memory, and the numbers of rows it serves. */
export interface BlockTile extends ServedRows {
  /** Rows and weight rows of a workgroup's tile. */
  readonly rows: number;
  readonly columns: number;
  /** Rows and weight rows of a lane's sums; the latter a multiple of 4 where there are slices. */
  readonly laneRows: number;
  readonly laneColumns: number;
}

import type { MatrixTile } from "./matrix_tuning.ts";
import type { W8a8GemmTile, W8a8Tile, W8a8Tiles } from "./w8a8_tuning.ts";
import type { ServedRows } from "./tiles.ts";
import type { GemmTile, MatmulTile, ProductTiles, Tuning } from "./tuning.ts";

/** A tile of any kernel of matrix products. */
export type ProductTile = MatmulTile | GemmTile | MatrixTile;

/** Whether a tile is one of `gemm`'s. */
export function isGemmTile(tile: Omit<ProductTile, "minRows" | "maxRows">): tile is GemmTile {
  return "laneRows" in tile;
}

/** Whether a tile is one of `gemm_subgroup_matrix`'s. */
export function isMatrixTile(tile: Omit<ProductTile, "minRows" | "maxRows">): tile is MatrixTile {
  return "unit" in tile;
}

/**
 * The tiles of the product `label`, exactly one for any number of rows: its own, or the tuning's.
 */
export function tilesOf(tuning: Tuning, label: string): ProductTiles {
  const own = tuning.productTiles?.[label];
  if (own !== undefined) return own;
  const { matmulTiles, gemmTiles, matrixTiles } = tuning;
  const rowsOf = (...tiles: readonly ServedRows[]) => ({
    minRows: Math.min(...tiles.map(({ minRows }) => minRows)),
    maxRows: Infinity,
  });
  return {
    matmulTiles: without(matmulTiles, rowsOf(...gemmTiles, ...matrixTiles)),
    gemmTiles: without(gemmTiles, rowsOf(...matrixTiles)),
    matrixTiles,
  };
}

/**
 * The tuning in which the product `label` runs on `tile` wherever that fits, and on its others
 * elsewhere.
 */
export function withTile(tuning: Tuning, label: string, tile: ProductTile): Tuning {
  const own = tilesOf(tuning, label);
  const rest = {
    matmulTiles: without(own.matmulTiles, tile),
    gemmTiles: without(own.gemmTiles, tile),
    matrixTiles: without(own.matrixTiles, tile),
  };
  return { ...tuning, productTiles: { ...tuning.productTiles, [label]: withMore(rest, tile) } };
}

function withMore(tiles: ProductTiles, tile: ProductTile): ProductTiles {
  if (isMatrixTile(tile)) return { ...tiles, matrixTiles: [...tiles.matrixTiles, tile] };
  if (isGemmTile(tile)) return { ...tiles, gemmTiles: [...tiles.gemmTiles, tile] };
  return { ...tiles, matmulTiles: [...tiles.matmulTiles, tile] };
}

/** A tile of either kernel of products of int8 activations. */
export type W8a8ProductTile = W8a8Tile | W8a8GemmTile;

/** {@link tilesOf} where its activations are int8. */
export function w8a8TilesOf({ w8a8 }: Pick<Tuning, "w8a8">, label: string): W8a8Tiles {
  return w8a8.productTiles?.[label] ?? w8a8;
}

/** {@link withTile} where its activations are int8. */
export function withW8a8Tile(tuning: Tuning, label: string, tile: W8a8ProductTile): Tuning {
  const { tiles, gemmTiles } = w8a8TilesOf(tuning, label);
  const rest = { tiles: without(tiles, tile), gemmTiles: without(gemmTiles, tile) };
  const own = isW8a8GemmTile(tile)
    ? { ...rest, gemmTiles: [...rest.gemmTiles, tile] }
    : { ...rest, tiles: [...rest.tiles, tile] };
  const { w8a8 } = tuning;
  const productTiles = { ...w8a8.productTiles, [label]: own };
  return { ...tuning, w8a8: { ...w8a8, productTiles } };
}

/** Whether a tile is one of `w8a8_gemm`'s. */
export function isW8a8GemmTile(
  tile: Omit<W8a8ProductTile, "minRows" | "maxRows">,
): tile is W8a8GemmTile {
  return "laneRows" in tile;
}

/** Tiles for the rows outside a range; one that serves both sides of it is there twice. */
function without<T extends ServedRows>(tiles: readonly T[], { minRows, maxRows }: ServedRows): T[] {
  return tiles.flatMap((tile) => [
    { ...tile, maxRows: Math.min(tile.maxRows, minRows - 1) },
    { ...tile, minRows: Math.max(tile.minRows, maxRows + 1) },
  ]).filter((tile) => tile.minRows <= tile.maxRows && tile.minRows < Infinity);
}

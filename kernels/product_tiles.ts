import type { PackedGemmTile, PackedTile, PackedTiles } from "./packed_tuning.ts";
import type { GemmTile, MatmulTile, ProductTiles, Tuning } from "./tuning.ts";

/** Numbers of rows, `[minRows, maxRows]`. */
export type RowRange = Pick<MatmulTile, "minRows" | "maxRows">;

/** A tile of either kernel of matrix products. */
export type ProductTile = MatmulTile | GemmTile;

/** Whether a tile is one of `gemm`'s. */
export function isGemmTile(tile: Omit<ProductTile, "minRows" | "maxRows">): tile is GemmTile {
  return "laneRows" in tile;
}

/** The tiles of the product `label`, exactly one for any number of rows: its own, or everybody's. */
export function tilesOf(tuning: Tuning, label: string): ProductTiles {
  const own = tuning.productTiles?.[label];
  if (own !== undefined) return own;
  const { matmulTiles, gemmTiles } = tuning;
  const gemmRows = Math.min(...gemmTiles.map(({ minRows }) => minRows));
  return { matmulTiles: without(matmulTiles, { minRows: gemmRows, maxRows: Infinity }), gemmTiles };
}

/** The tuning in which the product `label` runs on `tile` wherever that fits, and on its others elsewhere. */
export function withTile(tuning: Tuning, label: string, tile: ProductTile): Tuning {
  const { matmulTiles, gemmTiles } = tilesOf(tuning, label);
  const rest = { matmulTiles: without(matmulTiles, tile), gemmTiles: without(gemmTiles, tile) };
  const tiles = isGemmTile(tile)
    ? { ...rest, gemmTiles: [...rest.gemmTiles, tile] }
    : { ...rest, matmulTiles: [...rest.matmulTiles, tile] };
  return { ...tuning, productTiles: { ...tuning.productTiles, [label]: tiles } };
}

/** A tile of either kernel of products of int8 activations. */
export type PackedProductTile = PackedTile | PackedGemmTile;

/** {@link tilesOf} where its activations are int8. */
export function packedTilesOf({ packed }: Pick<Tuning, "packed">, label: string): PackedTiles {
  return packed.productTiles?.[label] ?? packed;
}

/** {@link withTile} where its activations are int8. */
export function withPackedTile(tuning: Tuning, label: string, tile: PackedProductTile): Tuning {
  const { tiles, gemmTiles } = packedTilesOf(tuning, label);
  const rest = { tiles: without(tiles, tile), gemmTiles: without(gemmTiles, tile) };
  const own = isPackedGemmTile(tile)
    ? { ...rest, gemmTiles: [...rest.gemmTiles, tile] }
    : { ...rest, tiles: [...rest.tiles, tile] };
  const { packed } = tuning;
  const productTiles = { ...packed.productTiles, [label]: own };
  return { ...tuning, packed: { ...packed, productTiles } };
}

/** Whether a tile is one of `packed_gemm`'s. */
export function isPackedGemmTile(
  tile: Omit<PackedProductTile, "minRows" | "maxRows">,
): tile is PackedGemmTile {
  return "laneRows" in tile;
}

/** Tiles for the rows outside a range; one that serves both sides of it is there twice. */
function without<T extends RowRange>(tiles: readonly T[], { minRows, maxRows }: RowRange): T[] {
  return tiles.flatMap((tile) => [
    { ...tile, maxRows: Math.min(tile.maxRows, minRows - 1) },
    { ...tile, minRows: Math.max(tile.minRows, maxRows + 1) },
  ]).filter((tile) => tile.minRows <= tile.maxRows && tile.minRows < Infinity);
}

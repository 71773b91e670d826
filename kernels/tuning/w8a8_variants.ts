import type { Tier } from "../../src/device/capabilities.ts";
import type { W8a8GemmTile, W8a8Tile } from "./w8a8_tuning.ts";
import { isW8a8GemmTile, type W8a8ProductTile, withW8a8Tile } from "./product_tiles.ts";
import type { Tuning } from "./tuning.ts";
import { ROW_CLASSES, type RowClass, type TuningVariant, withDefault } from "./tuning_variants.ts";

type TileShape = Omit<W8a8Tile, "minRows" | "maxRows">;
type GemmShape = Omit<W8a8GemmTile, "minRows" | "maxRows">;

const tile = (rows: number, outputs: number, lanes: number, run = 1): TileShape => ({
  ...{ rows, outputs, lanes, run },
});
const gemm = (
  [rows, columns]: readonly [number, number],
  [laneRows, laneColumns]: readonly [number, number],
): GemmShape => ({ rows, columns, laneRows, laneColumns });

/** By row class; few, since each is compiled and timed for every product. */
const SOFTWARE_TILES: readonly (readonly TileShape[])[] = [
  [tile(1, 4, 8), tile(1, 16, 8), tile(1, 8, 8, 2)],
  [tile(4, 4, 8), tile(2, 8, 8)],
  [tile(8, 8, 8), tile(4, 8, 8)],
  [tile(8, 8, 8), tile(4, 8, 8)],
  [tile(8, 8, 8), tile(4, 8, 8)],
  [tile(8, 8, 8), tile(4, 8, 8)],
];
const GPU_TILES: readonly (readonly (TileShape | GemmShape)[])[] = [
  // More bytes of a row in flight, more rows of weights, smaller and larger workgroups.
  [tile(1, 2, 16, 2), tile(1, 4, 16), tile(1, 1, 8, 4), tile(1, 1, 32, 4)],
  [tile(4, 1, 16, 2), tile(4, 4, 16), tile(2, 2, 16, 2)],
  [tile(8, 1, 16), tile(8, 4, 16), tile(4, 2, 16)],
  // Two turns of the tile for eight rows, smaller workgroups and more of them, larger ones.
  [tile(8, 2, 16), gemm([16, 16], [4, 4]), gemm([32, 32], [4, 4])],
  [gemm([16, 32], [4, 4]), gemm([32, 32], [4, 8]), gemm([64, 32], [4, 8])],
  // Fewer loads per dot product from left to right, and fewer workgroups.
  [gemm([32, 32], [4, 4]), gemm([32, 64], [8, 4]), gemm([64, 64], [8, 8])],
];

/**
 * The ways to run the product `label` of int8 activations in steps of `rows` rows, the default
 * first.
 *
 * All add up in the same order, so that no choice among them shows in any bit.
 */
export function w8a8Variants(
  tier: Tier,
  label: string,
  rows: RowClass,
): readonly TuningVariant[] {
  const { minRows, maxRows } = rows;
  const tiles = (tier === "software" ? SOFTWARE_TILES : GPU_TILES)[ROW_CLASSES.indexOf(rows)]!;
  return withDefault(tiles.map((shape) => ({
    name: tileName(shape),
    apply: (to: Tuning) => withW8a8Tile(to, label, { ...shape, minRows, maxRows }),
  })));
}

function tileName(shape: Omit<W8a8ProductTile, "minRows" | "maxRows">): string {
  if (isW8a8GemmTile(shape)) {
    const { rows, columns, laneRows, laneColumns } = shape;
    return `w8a8_gemm ${rows}x${columns} by ${laneRows}x${laneColumns}`;
  }
  const { rows, outputs, lanes, run } = shape as W8a8Tile;
  return `w8a8_matmul ${rows}x${outputs}, ${lanes} lanes, ${run} spans in hand`;
}

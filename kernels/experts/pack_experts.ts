import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";
import { tilesOf } from "../tuning/product_tiles.ts";
import { type ServedRows, serves } from "../tuning/tiles.ts";
import type { Tuning } from "../tuning/tuning.ts";
import source from "./pack_experts.wgsl" with { type: "text" };
import type { Routing } from "./route_experts.ts";

type Shape = Readonly<{ X: number; TOP_K: number; LANES: number; TILE_R: number }>;

/** Words of an entry of the list of tiles: an expert, and `[first, end)` of the packed pairs. */
export const TILE_ENTRY_WORDS = 3;

/** The words of `tiles` per token: those of its pairs, and in all one for their number. */
export function tileListWords({ topK }: Pick<Routing, "topK">): number {
  return TILE_ENTRY_WORDS * topK + 1;
}

/** The pairs of a token and an expert by expert, and the tiles in which they are computed. */
export const packExperts: Kernel<Shape> = {
  name: "pack_experts",
  source: stepWgsl + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "ids", access: "read" },
    { name: "pairs", access: "read_write" },
    { name: "tiles", access: "read_write" },
  ],
  reference({ step, ids, pairs, tiles }, { X, TOP_K, TILE_R }) {
    const all = ids!.u32.subarray(0, step!.u32[STEP.numTokens]! * TOP_K);
    let packed = 0;
    let numTiles = 0;
    for (let expert = 0; expert < X; expert++) {
      const begin = packed;
      for (const [pair, id] of all.entries()) if (id === expert) pairs!.u32[packed++] = pair;
      for (let first = begin; first < packed; first += TILE_R) {
        const entry = [expert, first, Math.min(first + TILE_R, packed)];
        tiles!.u32.set(entry, 1 + TILE_ENTRY_WORDS * numTiles++);
      }
    }
    tiles!.u32[0] = numTiles;
  },
};

/** Packs the pairs of a step, for each tile of the tuning in the steps that it serves. */
export function packExpertsCalls(
  routing: Routing & { label: string },
  buffers: Readonly<Record<"step" | "ids" | "pairs" | "tiles", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { label, numExperts: X, topK: TOP_K } = routing;
  const { matmulTiles, gemmTiles } = expertTiles(tuning);
  return [...matmulTiles, ...gemmTiles].map((tile) =>
    kernelCall(packExperts, {
      label,
      constants: { X, TOP_K, LANES: tuning.normLanes, TILE_R: tile.rows },
      buffers,
      workgroups: (dims) => [servesExperts(tile, routing, dims) ? X : 0, 1, 1],
    })
  );
}

/**
 * The tiles of products by experts, exactly one for any number of rows: the tuning's without those
 * of matrix units. Choices for single products do not count: all of a layer's share one list.
 */
export function expertTiles(
  { productTiles: _, ...tuning }: Tuning,
): Pick<Tuning, "matmulTiles" | "gemmTiles"> {
  return tilesOf({ ...tuning, matrixTiles: [] }, "");
}

/**
 * Whether a step is computed in this tile of a product: as if each expert had twice its even share
 * of the pairs, since tiles of few rows read an expert's weights more than once, and tiles of many
 * compute rows that are not there. Exactly one tile of {@link expertTiles} serves.
 */
export function servesExperts(
  tile: ServedRows,
  { numExperts, topK }: Pick<Routing, "numExperts" | "topK">,
  { numTokens }: StepDims,
): boolean {
  return serves(tile, Math.min(numTokens, Math.ceil(2 * numTokens * topK / numExperts)));
}

/** The most tiles of `rows` pairs that a step can have: each expert's last may be short. */
export function maxExpertTiles(
  rows: number,
  { numExperts, topK }: Pick<Routing, "numExperts" | "topK">,
  { numTokens }: StepDims,
): number {
  const numPairs = numTokens * topK;
  const used = Math.min(numExperts, numPairs);
  return used + Math.floor((numPairs - used) / rows);
}

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { isGemmTile, tilesOf, withTile } from "../../kernels/product_tiles.ts";
import {
  type GemmTile,
  GPU_TUNING,
  type MatmulTile,
  SOFTWARE_TUNING,
  type Tuning,
} from "../../kernels/tuning.ts";

/** The tiles of `label` that serve a number of rows. */
function serving(tuning: Tuning, label: string, rows: number) {
  const { matmulTiles, gemmTiles } = tilesOf(tuning, label);
  return [...matmulTiles, ...gemmTiles]
    .filter(({ minRows, maxRows }) => minRows <= rows && rows <= maxRows);
}

const MATMUL: MatmulTile = {
  ...{ minRows: 3, maxRows: 10, rows: 2, outputs: 2, lanes: 8, slices: 16, fusesNorm: false },
};
const GEMM: GemmTile = { ...GPU_TUNING.gemmTiles[0]!, minRows: 12, maxRows: 100 };

Deno.test("tilesOf() has gemm take over from matmul where it has tiles", () => {
  assertEquals(tilesOf(SOFTWARE_TUNING, "any").matmulTiles, SOFTWARE_TUNING.matmulTiles);
  const { matmulTiles, gemmTiles } = tilesOf(GPU_TUNING, "any");
  assertEquals(matmulTiles.map(({ maxRows }) => maxRows), [1, 2, 4, 8]);
  assertEquals(gemmTiles, GPU_TUNING.gemmTiles);
});

Deno.test("withTile() puts a tile of either kernel in place of what served its rows", () => {
  const tuned = withTile(withTile(GPU_TUNING, "o", MATMUL), "o", GEMM);
  for (const [rows, tile] of [[3, MATMUL], [10, MATMUL], [12, GEMM], [100, GEMM]] as const) {
    assertEquals(serving(tuned, "o", rows), [tile]);
  }
  const shape = ({ minRows: _, maxRows: __, ...rest }: MatmulTile | GemmTile) => rest;
  for (const rows of [1, 2, 11, 101]) {
    assertEquals(
      serving(tuned, "o", rows).map(shape),
      serving(GPU_TUNING, "o", rows).map(shape),
    );
  }
});

Deno.test("withTile() leaves other products and the tuning it is given as they are", () => {
  const before = structuredClone(GPU_TUNING);
  const tuned = withTile(withTile(GPU_TUNING, "o", MATMUL), "down", GEMM);
  assertEquals(GPU_TUNING, before);
  assertEquals(tilesOf(tuned, "qkv"), tilesOf(GPU_TUNING, "qkv"));
  assertEquals(serving(tuned, "down", 3), serving(GPU_TUNING, "down", 3));
});

Deno.test("withTile() leaves exactly one tile for any number of rows, whatever the ranges", () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 20 }));
  const change = fc.record({ range, isGemm: fc.boolean(), isOpen: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), (changes) => {
      let tuning: Tuning = GPU_TUNING;
      for (const { range: [minRows, more], isGemm, isOpen } of changes) {
        const rows = { minRows, maxRows: isOpen ? Infinity : minRows + more };
        tuning = withTile(tuning, "o", isGemm ? { ...GEMM, ...rows } : { ...MATMUL, ...rows });
        assertEquals(serving(tuning, "o", minRows).map((tile) => isGemmTile(tile)), [isGemm]);
      }
      for (let rows = 1; rows < 70; rows++) assertEquals(serving(tuning, "o", rows).length, 1);
    }),
    { seed: 20260801, numRuns: 200 },
  );
});

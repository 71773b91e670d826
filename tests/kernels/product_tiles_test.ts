import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type MatrixTile, matrixTilesOf } from "../../kernels/tuning/matrix_tuning.ts";
import {
  isGemmTile,
  isMatrixTile,
  type ProductTile,
  tilesOf,
  withTile,
} from "../../kernels/tuning/product_tiles.ts";
import {
  type GemmTile,
  GPU_TUNING,
  type MatmulTile,
  SOFTWARE_TUNING,
  type Tuning,
} from "../../kernels/tuning/tuning.ts";

/** The tiles of `label` that serve a number of rows. */
function serving(tuning: Tuning, label: string, rows: number) {
  const { matmulTiles, gemmTiles, matrixTiles } = tilesOf(tuning, label);
  return [...matmulTiles, ...gemmTiles, ...matrixTiles]
    .filter(({ minRows, maxRows }) => minRows <= rows && rows <= maxRows);
}

const MATMUL: MatmulTile = {
  ...{ minRows: 3, maxRows: 10, rows: 2, outputs: 2, lanes: 8, slices: 16, fusesNorm: false },
};
const GEMM: GemmTile = { ...GPU_TUNING.gemmTiles[0]!, minRows: 12, maxRows: 100 };
const [FEW, MANY] = matrixTilesOf({ type: "f16", m: 16, n: 16, k: 16, lanes: 32 });
const WITH_UNITS: Tuning = { ...GPU_TUNING, matrixTiles: [FEW!, MANY!] };
const MATRIX: MatrixTile = { ...FEW!, rows: 64, minRows: 12, maxRows: 100 };

Deno.test("tilesOf() has gemm take over from matmul where it has tiles", () => {
  assertEquals(tilesOf(SOFTWARE_TUNING, "any").matmulTiles, SOFTWARE_TUNING.matmulTiles);
  const { matmulTiles, gemmTiles } = tilesOf(GPU_TUNING, "any");
  assertEquals(matmulTiles.map(({ maxRows }) => maxRows), [1, 2, 4, 8]);
  assertEquals(gemmTiles, GPU_TUNING.gemmTiles);
});

Deno.test("tilesOf() has matrix units take over from gemm, and from matmul where there is no gemm", () => {
  for (const gemmTiles of [GPU_TUNING.gemmTiles, []]) {
    const tuning = { ...WITH_UNITS, gemmTiles };
    for (let rows = 1; rows < 100; rows++) {
      const [tile, ...more] = serving(tuning, "any", rows);
      assertEquals(more, []);
      assertEquals([isMatrixTile(tile!), isGemmTile(tile!)], [
        rows > 16,
        rows > 8 && rows <= 16 && gemmTiles.length > 0,
      ]);
    }
  }
});

Deno.test("withTile() puts a tile of any kernel in place of what served its rows", () => {
  const tuned = withTile(withTile(GPU_TUNING, "o", MATMUL), "o", GEMM);
  for (const [rows, tile] of [[3, MATMUL], [10, MATMUL], [12, GEMM], [100, GEMM]] as const) {
    assertEquals(serving(tuned, "o", rows), [tile]);
  }
  assertEquals(serving(withTile(tuned, "o", MATRIX), "o", 60), [MATRIX]);
  const shape = ({ minRows: _, maxRows: __, ...rest }: ProductTile) => rest;
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
  const tiles = fc.constantFrom(MATMUL, GEMM, MATRIX);
  const change = fc.record({ range, tile: tiles, isOpen: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), (changes) => {
      let tuning: Tuning = WITH_UNITS;
      for (const { range: [minRows, more], tile, isOpen } of changes) {
        const put = { ...tile, minRows, maxRows: isOpen ? Infinity : minRows + more };
        tuning = withTile(tuning, "o", put);
        assertEquals(serving(tuning, "o", minRows), [put]);
      }
      for (let rows = 1; rows < 70; rows++) assertEquals(serving(tuning, "o", rows).length, 1);
    }),
    { seed: 20260801, numRuns: 200 },
  );
});

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { w8a8GemmCalls, w8a8GemmLanes } from "../../kernels/matmul/w8a8_gemm.ts";
import { w8a8Variants } from "../../kernels/tuning/w8a8_variants.ts";
import { w8a8CodesCalls } from "../../kernels/matmul/w8a8_product.ts";
import { w8a8TilesOf } from "../../kernels/tuning/product_tiles.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import { DEFAULT_VARIANT, ROW_CLASSES } from "../../kernels/tuning/tuning_variants.ts";
import type { Tier } from "../../src/device/capabilities.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { runW8a8 } from "../support/w8a8_fixture.ts";
import { workgroupBytes } from "../support/workgroup_memory.ts";

const { capabilities } = new ReferenceDevice();
const TIERS: readonly Tier[] = ["software", "baseline"];
const LABEL = "test";
const PRODUCT = { label: LABEL, rows: "tokens", n: 64, k: 96, dtype: "int8g32" } as const;
const BUFFER = { label: "any", bytes: 4 };
const BUFFERS = { step: BUFFER, codes: BUFFER, scales: BUFFER, w: BUFFER, y: BUFFER };

function tuningOf(tier: Tier): Tuning {
  return tuningFor({ ...capabilities, tier }, { int8Activations: "on" });
}

for (const tier of TIERS) {
  const tuning = tuningOf(tier);

  Deno.test(`w8a8Variants() have the default first and no name twice: ${tier}`, () => {
    for (const rows of ROW_CLASSES) {
      const variants = w8a8Variants(tier, LABEL, rows);
      assertEquals(variants[0]!.name, DEFAULT_VARIANT);
      assertEquals(variants[0]!.apply(tuning), tuning);
      assert(variants.length >= 3 && variants.length <= 5, "a handful");
      assertEquals(new Set(variants.map(({ name }) => name)).size, variants.length);
      for (const { apply } of variants.slice(1)) assertNotEquals(apply(tuning), tuning);
    }
  });

  Deno.test(`w8a8Variants() have one tile for any number of rows, and change no other product: ${tier}`, () => {
    for (const rows of ROW_CLASSES) {
      for (const { name, apply } of w8a8Variants(tier, LABEL, rows)) {
        const { tiles, gemmTiles } = w8a8TilesOf(apply(tuning), LABEL);
        const serving = (rows: number) =>
          [...tiles, ...gemmTiles].filter((tile) => tile.minRows <= rows && rows <= tile.maxRows);
        for (let rows = 1; rows < 100; rows++) assertEquals(serving(rows).length, 1, name);
        const { productTiles: _, ...others } = apply(tuning).w8a8;
        assertEquals(others, tuning.w8a8);
      }
    }
  });
}

Deno.test("w8a8Variants() fit what GPUs have, and w8a8_gemm's stage a span per lane at most", () => {
  let numGemmTiles = 0;
  for (const rows of ROW_CLASSES) {
    for (const { name, apply } of w8a8Variants("baseline", LABEL, rows)) {
      const { tiles, gemmTiles } = w8a8TilesOf(apply(tuningOf("baseline")), LABEL);
      for (const { rows, outputs, lanes } of tiles) {
        const { slices } = tuningOf("baseline").w8a8;
        assert(lanes * slices <= 256, name);
        // The sums of a tile, twice as many for one output of "silu".
        assert(4 * lanes * slices * rows * Math.max(outputs, 2) <= 16_384, name);
      }
      for (const tile of gemmTiles) {
        // Every GPU worth the name has twice what WebGPU promises.
        const { w8a8 } = tuningOf("baseline");
        const own = { w8a8: { ...w8a8, gemmTiles: [tile] } };
        const [bytes] = w8a8GemmCalls(PRODUCT, BUFFERS, own).map(workgroupBytes);
        assert(bytes! > 0 && bytes! <= 32_768, name);
        assert(w8a8GemmLanes(tile) <= 256, name);
        assert(4 * Math.max(tile.rows, tile.columns) <= w8a8GemmLanes(tile), name);
        assert(tile.laneColumns % 4 === 0 && 8 * tile.laneRows >= tile.columns, name);
        numGemmTiles++;
      }
    }
  }
  assert(numGemmTiles >= 20, `${numGemmTiles} tiles were looked at`);
});

for (const tier of TIERS) {
  for (const matmulSubgroups of [false, true]) {
    const words = matmulSubgroups ? `${tier} with subgroups` : tier;
    gpuTest(`w8a8Variants() give the bits of the default: ${words}`, async (gpu) => {
      if (matmulSubgroups && !gpu.capabilities.hasSubgroups) return;
      const tuning = { ...tuningOf(tier), matmulSubgroups };
      // Sums of a gate and an up, over spans that all slices have two of, and some three.
      const test = { n: 70, k: 288, epilogue: "silu", dtype: "int8g32" } as const;
      const bitsOf = async (tuning: Tuning, rows: number) => {
        const { actual } = await runW8a8(gpu, w8a8CodesCalls, tuning, { ...test, rows });
        return [...actual.u32];
      };
      for (const rows of ROW_CLASSES) {
        const [usual, ...others] = w8a8Variants(tier, LABEL, rows);
        const count = Math.min(rows.timedRows, rows.minRows + 1);
        const expected = await bitsOf(usual!.apply(tuning), count);
        for (const { name, apply } of others) {
          // Tiles in shared memory know nothing of subgroups.
          if (matmulSubgroups && name.startsWith("w8a8_gemm")) continue;
          assertEquals(await bitsOf(apply(tuning), count), expected, `${count} rows: ${name}`);
        }
      }
    });
  }
}

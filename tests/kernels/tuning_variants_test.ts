import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { gemm, gemmCalls } from "../../kernels/matmul/gemm.ts";
import { matrixTilesOf } from "../../kernels/tuning/matrix_tuning.ts";
import { w8a8Gemm } from "../../kernels/matmul/w8a8_gemm.ts";
import { w8a8Matmul } from "../../kernels/matmul/w8a8_matmul.ts";
import { tilesOf } from "../../kernels/tuning/product_tiles.ts";
import { quantizeRows } from "../../kernels/matmul/quantize_rows.ts";
import { segmentsWords } from "../../kernels/sampling/sampling.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import { tuningDigest } from "../../kernels/tuning/tuning_digest.ts";
import {
  DEFAULT_VARIANT,
  productVariants,
  ROW_CLASSES,
  type RowClass,
  stageVariants,
  type TuningVariant,
} from "../../kernels/tuning/tuning_variants.ts";
import type { Tier } from "../../src/device/capabilities.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { workgroupBytes } from "../support/workgroup_memory.ts";

const { capabilities } = new ReferenceDevice();
const TIERS: readonly Tier[] = ["software", "baseline", "subgroups"];
const UNIT = { m: 8, n: 8, k: 8, lanes: 32 } as const;
const PARTS = ["decode", "prefill", "sampling"] as const;

function tuningOf(tier: Tier, isDeterministic = false): Tuning {
  const hasSubgroups = tier === "subgroups";
  const size = hasSubgroups ? 32 : 0;
  const granted = { hasSubgroups, subgroupMinSize: size, subgroupMaxSize: size };
  return tuningFor({ ...capabilities, tier, ...granted }, { isDeterministic });
}

/** Every variant of a product, in every class of rows. */
function* products(tier: Tier, tuning = tuningOf(tier)): Generator<TuningVariant & Rows> {
  for (const rows of ROW_CLASSES) {
    for (const variant of productVariants(tier, tuning, "o", rows)) yield { ...variant, rows };
  }
}
interface Rows {
  readonly rows: RowClass;
}

Deno.test("ROW_CLASSES hold every number of rows once", () => {
  const bounds = ROW_CLASSES.flatMap(({ minRows, maxRows }) => [minRows - 1, maxRows]);
  assertEquals(bounds, [0, 1, 1, 4, 4, 8, 8, 16, 16, 64, 64, Infinity]);
  for (const { minRows, maxRows, timedRows } of ROW_CLASSES) {
    assert(minRows <= timedRows && timedRows <= maxRows);
  }
});

for (const tier of TIERS) {
  const tuning = tuningOf(tier);

  Deno.test(`productVariants() and stageVariants() have the default first and no name twice: ${tier}`, () => {
    const lists = [
      ...ROW_CLASSES.map((rows) => productVariants(tier, tuning, "o", rows)),
      ...PARTS.map((part) => stageVariants(tier, part)),
    ];
    for (const variants of lists) {
      assertEquals(variants[0]!.name, DEFAULT_VARIANT);
      assertEquals(variants[0]!.apply(tuning), tuning);
      assert(variants.length >= 3 && variants.length <= 6, "a handful");
      assertEquals(new Set(variants.map(({ name }) => name)).size, variants.length);
      for (const { apply } of variants.slice(1)) assertNotEquals(apply(tuning), tuning);
    }
  });

  Deno.test(`productVariants() sum up to eight rows as the tuning does: ${tier}`, () => {
    const { slices, lanes } = tuning.matmulTiles[0]!;
    for (const { name, apply } of products(tier)) {
      const { matmulTiles, gemmTiles } = tilesOf(apply(tuning), "o");
      for (const tile of matmulTiles) {
        assertEquals(tile.slices, slices, name);
        if (tier !== "software") assert(tile.lanes >= lanes, name);
        if (tile.fusesNorm) assertEquals(tile.lanes * tile.slices, tuning.normLanes, name);
      }
      assert(gemmTiles.every(({ minRows }) => minRows > 8), name);
    }
  });

  Deno.test(`stageVariants() take no more memory than the tuning, and keep the block's shape: ${tier}`, () => {
    for (const { name, apply } of PARTS.flatMap((part) => stageVariants(tier, part))) {
      const tuned = apply(tuning);
      assert(tuned.splitLen >= tuning.splitLen, name);
      for (const vocabSize of [512, 8192, 49_152, 262_144]) {
        assert(segmentsWords(vocabSize, tuned) <= segmentsWords(vocabSize, tuning), name);
      }
      assertEquals(tuned.positionTile, tuning.positionTile, name);
    }
  });

  Deno.test(`productVariants() of a deterministic tuning never use gemm: ${tier}`, () => {
    const deterministic = tuningOf(tier, true);
    for (const { apply } of products(tier, deterministic)) {
      assertEquals(tilesOf(apply(deterministic), "o").gemmTiles, []);
    }
  });
}

Deno.test("productVariants() are other shapes of matrix units where these run, and gemm's own tile", () => {
  const matrixConfigs = [
    { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 },
  ];
  const gpu = { ...capabilities, tier: "subgroups", hasSubgroups: true, hasF16: true } as const;
  const limits = { subgroupMaxSize: 32, maxWorkgroupBytes: 32_768, maxWorkgroupLanes: 256 };
  const tuning = tuningFor({ ...gpu, ...limits, matrixConfigs });
  const [unit] = tuning.matrixTiles.map(({ unit }) => unit);
  assert(unit !== undefined);
  for (const rows of ROW_CLASSES) {
    const variants = productVariants("subgroups", tuning, "o", rows);
    assertEquals(variants[0]!.name, DEFAULT_VARIANT);
    const isServed = rows.minRows > 16;
    if (isServed) assertEquals(variants.length, 4);
    assertEquals(variants.some(({ name }) => name.startsWith("matrix units")), isServed);
    assertEquals(new Set(variants.map(({ name }) => name)).size, variants.length);
    for (const { name, apply } of variants.slice(1)) {
      const { matmulTiles, gemmTiles, matrixTiles } = tilesOf(apply(tuning), "o");
      const serving = [...matmulTiles, ...gemmTiles, ...matrixTiles]
        .filter(({ minRows, maxRows }) => minRows <= rows.timedRows && rows.timedRows <= maxRows);
      assertEquals(serving.length, 1, name);
      assertEquals("unit" in serving[0]!, name.startsWith("matrix units"), name);
    }
  }
  const deterministic = tuningFor({ ...gpu, ...limits, matrixConfigs }, { isDeterministic: true });
  for (const { name } of products("subgroups", deterministic)) {
    assert(!name.startsWith("matrix units"), name);
  }
});

Deno.test("productVariants() have tiles of gemm that its template can stage and add up", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, w: buffer, y: buffer };
  const product = { label: "o", rows: "tokens", n: 512, k: 512, dtype: "f16" } as const;
  let numTiles = 0;
  for (const stageF16 of [false, true]) {
    for (const { name, apply, rows } of products("baseline")) {
      const tuned = { ...tuningOf("baseline"), stageF16 };
      const tiles = tilesOf(apply(tuned), "o").gemmTiles
        .filter(({ minRows }) => minRows === rows.minRows);
      for (const call of gemmCalls(product, buffers, { ...tuned, gemmTiles: tiles })) {
        const { LANES, FOURS, X_LOADS, W_LOADS, LOAD, ROWS, SLICES, W } = call.constants;
        assert(Number(LANES) <= 256 && Number(LANES) % Number(FOURS) === 0, name);
        assert(Number.isInteger(X_LOADS) && Number.isInteger(W_LOADS), name);
        assert(Number(FOURS) % Number(LOAD) === 0, name);
        // The sums of a row over all slices meet where its inputs were staged.
        const room = Number(ROWS) * (Number(FOURS) + 1);
        if (Number(SLICES) > 1) assert(Number(LANES) * Number(W) / 4 <= room, name);
        // Every GPU worth the name has twice what WebGPU promises.
        const bytes = workgroupBytes(call);
        assert(bytes > 0 && bytes <= 32_768, name);
        numTiles++;
      }
    }
  }
  assert(numTiles >= 20, `${numTiles} tiles were looked at`);
});

Deno.test("tuningDigest() is another for other tiers, features and tiles, else the same", () => {
  const gpu = tuningOf("baseline");
  const digest = tuningDigest("baseline", gpu);
  assertEquals(tuningDigest("baseline", tuningOf("baseline")), digest);
  const others: [Tier, Tuning][] = [
    ["software", gpu],
    ["subgroups", tuningOf("subgroups")],
    ["baseline", { ...gpu, stageF16: true }],
    ["baseline", { ...gpu, matrixTiles: matrixTilesOf({ ...UNIT, type: "f16" }) }],
    ["baseline", { ...gpu, matrixTiles: matrixTilesOf({ ...UNIT, type: "f32" }) }],
    ["baseline", { ...gpu, splitLen: 32 }],
    ["baseline", { ...gpu, w8a8: { ...gpu.w8a8, quantizeLanes: 32 } }],
    ["baseline", tuningOf("baseline", true)],
    ["baseline", { ...gpu, gemmTiles: gpu.gemmTiles.map((tile) => ({ ...tile, inputs: 128 })) }],
  ];
  const digests = others.map(([tier, tuning]) => tuningDigest(tier, tuning));
  assertEquals(new Set([digest, ...digests]).size, others.length + 1);
});

Deno.test("tuningDigest() is another when a template is", () => {
  const gpu = tuningOf("baseline");
  const digest = tuningDigest("baseline", gpu);
  for (const kernel of [gemm, w8a8Gemm, w8a8Matmul, quantizeRows]) {
    const { source } = kernel;
    try {
      Object.assign(kernel, { source: source + "// another" });
      assertNotEquals(tuningDigest("baseline", gpu), digest, kernel.name);
    } finally {
      Object.assign(kernel, { source });
    }
  }
  assertEquals(tuningDigest("baseline", gpu), digest);
});

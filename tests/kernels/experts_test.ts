/** Routing, packing, products by experts and their sums, against their definitions and alone. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { combineExpertsCall } from "../../kernels/experts/combine_experts.ts";
import type { ExpertProduct } from "../../kernels/experts/expert_matmul.ts";
import { expertProductCalls } from "../../kernels/experts/expert_product.ts";
import {
  expertTiles,
  maxExpertTiles,
  packExpertsCalls,
  servesExperts,
  tileListWords,
} from "../../kernels/experts/pack_experts.ts";
import { routeExpertsCall, type Routing } from "../../kernels/experts/route_experts.ts";
import { weightRows } from "../../kernels/matmul/epilogue.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { isQuantized, matrixBytes, type WeightDtype } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest, noise, runBoth, runOn, worstError } from "../support/agreement.ts";
import { dimsOf, header, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";
import {
  BLOCK_DTYPES,
  fixtureRows,
  WEIGHT_DTYPES,
  weightFixture,
} from "../support/weight_fixture.ts";

const TUNINGS: Readonly<Record<string, Tuning>> = {
  "CPU threads": SOFTWARE_TUNING,
  "CPU threads with subgroups": { ...SOFTWARE_TUNING, matmulSubgroups: true },
  "GPU": GPU_TUNING,
  "GPU with subgroups": { ...GPU_TUNING, matmulSubgroups: true },
};

const SMALL = { numExperts: 8, topK: 2, normalizes: true, label: "test" };
const LARGE = { numExperts: 72, topK: 6, normalizes: false, label: "test" };
const ROUTINGS = [SMALL, LARGE, { ...SMALL, topK: 8, normalizes: false }];

/** A choice of experts for each token as `route_experts` makes it: none twice. */
function choices({ numExperts, topK }: Routing, numTokens: number, seed = 5): Uint32Array {
  const order = noise(numTokens * numExperts, seed);
  return Uint32Array.from({ length: numTokens }, (_, t) => t).reduce((ids, t) => {
    const row = order.subarray(t * numExperts, (t + 1) * numExperts);
    const chosen = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]!).slice(0, topK);
    ids.set(chosen, t * topK);
    return ids;
  }, new Uint32Array(numTokens * topK));
}

for (const routing of ROUTINGS) {
  const { numExperts, topK, normalizes } = routing;
  const title = `${topK} of ${numExperts}${normalizes ? ", normalized" : ""}`;
  for (const lanes of [8, 64]) {
    gpuTest(`route_experts agrees with the definition: ${title}, ${lanes} lanes`, async (gpu) => {
      const numTokens = 9;
      const logits = poisoned(numTokens, numExperts, 1, 4);
      // Ties go to the lower number; no logit is too large for the weights.
      logits.fill(0.5, 0, numExperts);
      logits.set([1e30, 1e30, -1e30, -Infinity], numExperts);
      const ids = new Uint32Array((numTokens + POISONED_ROWS) * topK).fill(77);
      const weights = new Float32Array(ids.length).fill(7);
      const contents = { step: header(numTokens), logits, ids, weights };
      const run = (output: string) =>
        runBoth(
          gpu,
          contents,
          (b) => [routeExpertsCall({ ...routing, lanes }, b as never)],
          dimsOf(numTokens),
          output,
        );
      const chosen = await run("ids");
      assertEquals(chosen.actual.u32, chosen.expected.u32);
      assertEquals([...chosen.actual.u32.subarray(0, 2)], [0, 1]);
      assertEquals(chosen.actual.u32[numTokens * topK], 77, "wrote past the last row");
      const { actual, expected } = await run("weights");
      assert(worstError(actual.f32, expected.f32) < 1e-5);
      const sum = actual.f32.subarray(3 * topK, 4 * topK).reduce((a, b) => a + b);
      if (normalizes || topK === numExperts) assertAlmostEquals(sum, 1, 1e-5);
      else assert(sum < 0.999);
    });
  }
}

gpuTest("route_experts chooses experts there are, whatever the logits are", async (gpu) => {
  const { numExperts, topK } = SMALL;
  const logits = new Float32Array(3 * numExperts).fill(NaN);
  logits.fill(Infinity, numExperts, numExperts + 3);
  logits.fill(-Infinity, 2 * numExperts);
  const weights = new Float32Array(3 * topK);
  const contents = { step: header(3), logits, ids: new Uint32Array(3 * topK), weights };
  const calls = (b: Record<string, DeviceBuffer>) => [
    routeExpertsCall({ ...SMALL, lanes: 8 }, b as never),
  ];
  const { actual, expected } = await runBoth(gpu, contents, calls, dimsOf(3), "ids");
  // What is not a number comes first.
  assertEquals([...actual.u32], [0, 1, 3, 4, 0, 1]);
  assertEquals(actual.u32, expected.u32);
  const spoiled = await runOn(gpu, contents, calls, dimsOf(3), "weights");
  assert(spoiled.f32.every(Number.isNaN), "a row without finite logits has weights");
});

/** The tiles in which a step is computed: one. */
function tilesServing(tuning: Tuning, routing: Routing, numTokens: number) {
  const { matmulTiles, gemmTiles } = expertTiles(tuning);
  return [...matmulTiles, ...gemmTiles]
    .filter((tile) => servesExperts(tile, routing, dimsOf(numTokens)));
}

for (const routing of ROUTINGS) {
  gpuTest(
    `pack_experts agrees with the definition: ${routing.topK} of ${routing.numExperts}`,
    async (gpu) => {
      for (const tuning of [SOFTWARE_TUNING, GPU_TUNING]) {
        for (const numTokens of [1, 2, 19, 150]) {
          const ids = choices(routing, numTokens);
          const contents = {
            step: header(numTokens),
            ids: Uint32Array.from([...ids, 0, 0, 0]),
            pairs: new Uint32Array(ids.length + 1).fill(77),
            tiles: new Uint32Array(numTokens * tileListWords(routing)).fill(77),
          };
          const run = (output: string) =>
            runBoth(
              gpu,
              contents,
              (b) => packExpertsCalls(routing, b as never, tuning),
              dimsOf(numTokens),
              output,
            );
          const pairs = await run("pairs");
          assertEquals(pairs.actual.u32, pairs.expected.u32);
          const packed = pairs.actual.u32.slice(0, ids.length).sort();
          assertEquals(packed, Uint32Array.from(ids.keys()));
          const tiles = await run("tiles");
          assertEquals(tiles.actual.u32, tiles.expected.u32);
          const [tile] = tilesServing(tuning, routing, numTokens);
          const most = maxExpertTiles(tile!.rows, routing, dimsOf(numTokens));
          assert(tiles.actual.u32[0]! <= most, `${tiles.actual.u32[0]} tiles, of at most ${most}`);
        }
      }
    },
  );
}

Deno.test("a step has no more tiles than experts in use and full tiles, and one token as many as experts", () => {
  assertEquals(maxExpertTiles(1, LARGE, dimsOf(1)), 6);
  assertEquals(maxExpertTiles(8, LARGE, dimsOf(12)), 72);
  assertEquals(maxExpertTiles(8, LARGE, dimsOf(1000)), 72 + (6000 - 72) / 8);
  for (const tuning of [SOFTWARE_TUNING, GPU_TUNING]) {
    for (const routing of ROUTINGS) {
      for (const numTokens of [1, 2, 3, 5, 40, 500]) {
        assertEquals(tilesServing(tuning, routing, numTokens).length, 1);
      }
    }
  }
});

/** A product in the rows of `numTokens` tokens, and all that it reads. */
function productContents(product: ExpertProduct, numTokens: number, hasBias = false) {
  const { routing, n, k, dtype, epilogue = "store", rows } = product;
  const ids = choices(routing, numTokens);
  const numRows = weightRows(n, epilogue);
  const w = weightFixture(dtype, routing.numExperts * numRows, k);
  return {
    step: header(numTokens),
    ids,
    pairs: new Uint32Array(ids.length),
    tiles: new Uint32Array(numTokens * tileListWords(routing)),
    x: poisoned(rows === "tokens" ? numTokens : ids.length, k, 1),
    w,
    y: new Float32Array((ids.length + POISONED_ROWS) * n).fill(7),
    ...hasBias ? { bias: noise(routing.numExperts * numRows, 6) } : {},
  };
}

/** Packs and multiplies. */
const productCalls =
  (product: ExpertProduct, tuning: Tuning) => (b: Record<string, DeviceBuffer>) => [
    ...packExpertsCalls({ ...product.routing, label: "test" }, b as never, tuning),
    ...expertProductCalls(product, b as never, tuning),
  ];

const GATED = { n: 20, k: 64, epilogue: "silu", rows: "tokens" } as const;
const DOWN = { n: 70, k: 36, rows: "pairs" } as const;
const CLAMPED = { ...GATED, epilogue: "clamped_swish", gateLimit: 1.5, alternates: true } as const;

/** Whether the adapter has the subgroups that a tuning needs; prints why not. */
function canRun(device: Device, { matmulSubgroups, matmulTiles }: Tuning): boolean {
  const least = matmulTiles[0]!.slices === 1 ? 8 : 1;
  if (!matmulSubgroups || device.capabilities.subgroupMinSize >= least) return true;
  // deno-lint-ignore no-console -- a skip must say why
  console.warn(`skipped: the adapter grants no subgroups of ${least}`);
  return false;
}

for (const [title, tuning] of Object.entries(TUNINGS)) {
  gpuTest(`products by experts agree with the definition: ${title}`, async (gpu) => {
    if (!canRun(gpu, tuning)) return;
    // All tilings read the same weights.
    const every = [...WEIGHT_DTYPES, ...BLOCK_DTYPES];
    const dtypes: readonly WeightDtype[] = tuning === SOFTWARE_TUNING ? every : ["f16", "int4g32"];
    for (const dtype of dtypes) {
      const quantized = BLOCK_DTYPES.some((each) => each === dtype) ? { ...GATED, k: 256 } : GATED;
      const other = isQuantized(dtype) ? quantized : DOWN;
      const cases = dtype === "f16" ? [GATED, DOWN, CLAMPED] : [other];
      for (const shape of cases) {
        const product = { ...shape, routing: SMALL, dtype, label: "test" };
        for (
          const numTokens of dtype === "f16"
            ? [1, 7, 33, ...tuning === GPU_TUNING ? [24, 150] : []]
            : [9]
        ) {
          const contents = productContents(product, numTokens, dtype === "f16" && shape !== GATED);
          const bias = (b: Record<string, DeviceBuffer>) => ({ ...b, bias: b["bias"] });
          const { actual, expected } = await runBoth(
            gpu,
            contents,
            (b) => productCalls(product, tuning)(bias(b) as never),
            dimsOf(numTokens),
            "y",
          );
          const error = worstError(actual.f32, expected.f32);
          const bound = 2e-6 * product.k * (shape === DOWN ? 1 : product.k);
          assert(error < bound, `${dtype} ${JSON.stringify(shape)} ${numTokens}: error ${error}`);
          assertEquals(actual.f32[numTokens * 2 * product.n], 7, "wrote past the last row");
        }
      }
    }
  });

  gpuTest(
    `an expert that no token goes to is not read, and shards change no bit: ${title}`,
    async (gpu) => {
      if (!canRun(gpu, tuning)) return;
      const product = { ...GATED, routing: SMALL, dtype: "f32", label: "test" } as const;
      const numTokens = 3;
      const contents = productContents(product, numTokens);
      const whole = await runOn(
        gpu,
        contents,
        productCalls(product, tuning),
        dimsOf(numTokens),
        "y",
      );
      const used = new Set(contents.ids);
      assert(used.size < SMALL.numExperts);
      const rows = 2 * product.n;
      const w = (contents.w as Float32Array).slice();
      for (let e = 0; e < SMALL.numExperts; e++) {
        if (!used.has(e)) w.fill(NaN, e * rows * product.k, (e + 1) * rows * product.k);
      }
      const shape = { dtype: "f32", numRows: SMALL.numExperts * rows, columns: product.k } as const;
      const cuts = [0, 3, 4, 8];
      const parts = cuts.slice(1).map((end, i) =>
        [`w${i}`, fixtureRows(w, shape, [[cuts[i]! * rows, end * rows]])] as const
      );
      const shards = (b: Record<string, DeviceBuffer>) =>
        cuts.slice(1).map((end, i) => ({ buffer: b[`w${i}`]!, begin: cuts[i]!, end }));
      for (const device of [gpu, new ReferenceDevice()]) {
        const cut = await runOn(
          device,
          { ...contents, ...Object.fromEntries(parts) },
          (b) => productCalls(product, tuning)({ ...b, w: shards(b) } as never),
          dimsOf(numTokens),
          "y",
        );
        if (device === gpu) assertEquals(cut.u32, whole.u32);
        else assert(worstError(cut.f32, whole.f32) < 1e-3);
      }
    },
  );

  gpuTest(`a token's rows have the same bits alone and among others: ${title}`, async (gpu) => {
    if (!canRun(gpu, tuning)) return;
    const deterministic = { ...tuning, gemmTiles: [] };
    for (const dtype of ["f16", "int4g32"] as const) {
      const product = { ...GATED, routing: SMALL, dtype, label: "test" };
      const many = productContents(product, 40);
      const all = await runOn(gpu, many, productCalls(product, deterministic), dimsOf(40), "y");
      for (const t of [0, 17, 39]) {
        const alone = productContents(product, 1);
        const contents = {
          ...alone,
          ids: many.ids.slice(2 * t, 2 * t + 2),
          x: many.x.slice(t * product.k, (t + 1) * product.k),
        };
        const one = await runOn(
          gpu,
          contents,
          productCalls(product, deterministic),
          dimsOf(1),
          "y",
        );
        const width = 2 * product.n;
        assertEquals(one.u32.slice(0, width), all.u32.slice(t * width, (t + 1) * width));
      }
    }
  });
}

gpuTest("expert_matmul reads textures of weights", async (gpu) => {
  if (gpu.capabilities.maxTextureSide === 0) return;
  for (const tuning of [TUNINGS["CPU threads"]!, TUNINGS["CPU threads with subgroups"]!]) {
    if (!canRun(gpu, tuning)) continue;
    for (const dtype of ["f16", "int8g32", "int4g32"] as const) {
      const product = { ...GATED, n: 19, routing: SMALL, dtype, label: "test" };
      const contents = productContents(product, 21);
      const rows = SMALL.numExperts * 2 * product.n;
      assert(matrixBytes(dtype, 1, product.k) % 4 === 0);
      const texture = { values: contents.w, dtype, rows, columns: product.k };
      const { actual, expected } = await runBoth(
        gpu,
        { ...contents, w: texture },
        productCalls(product, tuning),
        dimsOf(21),
        "y",
      );
      const error = worstError(actual.f32, expected.f32);
      assert(error < 2e-6 * product.k ** 2, `${dtype}: error ${error}`);
    }
  }
});

gpuTest("combine_experts agrees with the definition", async (gpu) => {
  for (const { scale, topK } of [{ scale: 1, topK: 2 }, { scale: 0.22, topK: 6 }]) {
    const [numTokens, E] = [5, 76];
    const contents = {
      step: header(numTokens),
      x: poisoned(numTokens * topK, E, 1),
      weights: poisoned(numTokens, topK, 2),
      y: new Float32Array((numTokens + 1) * E).fill(7),
    };
    const { actual, expected } = await runBoth(
      gpu,
      contents,
      (b) => [combineExpertsCall({ label: "test", E, topK, scale, lanes: 8 }, b as never)],
      dimsOf(numTokens),
      "y",
    );
    assert(worstError(actual.f32, expected.f32) < 1e-6 * (7 + topK));
    assertEquals(actual.f32[numTokens * E], 7, "wrote past the last row");
  }
});

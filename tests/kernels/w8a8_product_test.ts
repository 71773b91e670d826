import { assert, assertEquals } from "@std/assert";
import { w8a8GemmCalls, w8a8GemmLanes } from "../../kernels/matmul/w8a8_gemm.ts";
import { w8a8MatmulCalls } from "../../kernels/matmul/w8a8_matmul.ts";
import { isW8a8 } from "../../kernels/matmul/w8a8_product.ts";
import { GPU_W8A8, SOFTWARE_W8A8, type W8a8Tuning } from "../../kernels/tuning/w8a8_tuning.ts";
import { productCalls } from "../../kernels/matmul/product.ts";
import { GPU_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";
import { runW8a8, tokensStep, type W8a8Calls, type W8a8Case } from "../support/w8a8_fixture.ts";
import { weightFixture } from "../support/weight_fixture.ts";
import { workgroupBytes } from "../support/workgroup_memory.ts";

/** Fewer spans than slices, all of a row in one turn; every epilogue. Of the shape alone, so once for all dtypes. */
const SHORT_SHAPES = [
  { n: 3, k: 32, epilogue: "store" },
  { n: 70, k: 96, epilogue: "silu" },
] as const;
/** A group of 128 that a row does not fill; several spans in hand; odd outputs. */
const LONG_SHAPES = [
  { n: 33, k: 160, epilogue: "add" },
  { n: 65, k: 512, epilogue: "store" },
] as const;
const SHAPES = [...SHORT_SHAPES, ...LONG_SHAPES];
const DTYPES = ["int8g32", "int8g128", "int4g32", "int4g128"] as const;
/** How codes are unpacked knows nothing of who shares them: two suffice where subgroups do. */
const SUBGROUP_DTYPES: readonly string[] = ["int8g32", "int4g128"];

const TUNINGS: Readonly<Record<string, Tuning>> = {
  "CPU threads": { ...GPU_TUNING, w8a8: SOFTWARE_W8A8 },
  "CPU threads with subgroups": { ...GPU_TUNING, w8a8: SOFTWARE_W8A8, matmulSubgroups: true },
  "GPU": GPU_TUNING,
  "GPU with subgroups": { ...GPU_TUNING, matmulSubgroups: true },
};

/**
 * The header's bound, in relation to what a term may be: |code| is at most 127 in x and, by its scale, 1 in
 * w, whose weights reach 1. "silu" multiplies two sums.
 */
async function check(
  gpu: WebGpuDevice,
  calls: W8a8Calls,
  tuning: Tuning,
  test: W8a8Case,
) {
  const { actual, expected } = await runW8a8(gpu, calls, tuning, test);
  const bound = 1e-6 * test.k / 4;
  const numOutputs = test.rows * test.n;
  const name = JSON.stringify(test);
  assert(expected.f32.subarray(0, numOutputs).some((value) => Math.abs(value) > 0.1), name);
  for (let i = 0; i < numOutputs; i++) {
    const [a, b] = [actual.f32[i]!, expected.f32[i]!];
    const scale = test.epilogue === "silu" ? 1 + Math.abs(b) : 1;
    assert(Math.abs(a - b) <= bound * scale, `${name}: output ${i} is ${a}, not ${b}`);
  }
  assert(actual.f32.subarray(numOutputs).every((value) => value === 7), `${name}: wrote too far`);
}

for (const [title, tuning] of Object.entries(TUNINGS)) {
  for (const dtype of DTYPES) {
    if (tuning.matmulSubgroups && !SUBGROUP_DTYPES.includes(dtype)) continue;
    gpuTest(`w8a8_matmul agrees with the definition: ${title}, ${dtype}`, async (gpu) => {
      if (tuning.matmulSubgroups && !gpu.capabilities.hasSubgroups) {
        // deno-lint-ignore no-console -- a skip must say why
        return console.warn("skipped: the adapter grants no subgroups");
      }
      for (const shape of dtype === "int8g32" ? SHAPES : LONG_SHAPES) {
        for (const rows of [1, 2, 3, 8]) {
          await check(gpu, w8a8MatmulCalls, tuning, { ...shape, rows, dtype });
        }
      }
    });
  }
}

for (const tile of GPU_W8A8.gemmTiles) {
  for (const dtype of ["int8g32", "int4g128"] as const) {
    gpuTest(`w8a8_gemm agrees with the definition: ${tile.rows} rows, ${dtype}`, async (gpu) => {
      const only = withGemmTile({ ...tile, minRows: 1, maxRows: 99 });
      for (const shape of dtype === "int8g32" ? SHAPES : LONG_SHAPES) {
        for (const rows of [1, tile.rows, tile.rows + 1]) {
          await check(gpu, w8a8GemmCalls, only, { ...shape, rows, dtype });
        }
      }
    });
  }
}

/** The GPU's tuning with one tile of `w8a8_gemm`. */
function withGemmTile(tile: W8a8Tuning["gemmTiles"][number]): Tuning {
  return { ...GPU_TUNING, w8a8: { ...GPU_W8A8, gemmTiles: [tile] } };
}

for (const [title, tuning] of Object.entries(TUNINGS)) {
  gpuTest(`a row's sums of codes have the same bits from every tile: ${title}`, async (gpu) => {
    if (tuning.matmulSubgroups && !gpu.capabilities.hasSubgroups) return;
    const calls: W8a8Calls = (product, buffers, of) => [
      ...w8a8MatmulCalls(product, buffers, of),
      ...w8a8GemmCalls(product, buffers, of),
    ];
    const test = { n: 70, k: 544, epilogue: "store", dtype: "int8g32" } as const;
    const firstRow = async (rows: number) => {
      const { actual } = await runW8a8(gpu, calls, tuning, { ...test, rows });
      return [...actual.u32.subarray(0, test.n)];
    };
    const alone = await firstRow(1);
    // 7 is what y held before.
    assert(alone.every((bits) => bits !== new Uint32Array(Float32Array.of(7).buffer)[0]));
    for (const rows of [2, 3, 5, 9, 17, 65]) assertEquals(await firstRow(rows), alone, `${rows}`);
  });
}

gpuTest("w8a8_matmul adds up in one order with subgroups and without", async (gpu) => {
  if (!gpu.capabilities.hasSubgroups) return;
  const test = { n: 70, k: 544, epilogue: "silu", dtype: "int4g32", rows: 2 } as const;
  const bitsOf = async (
    tuning: Tuning,
  ) => [...(await runW8a8(gpu, w8a8MatmulCalls, tuning, test)).actual.u32];
  assertEquals(await bitsOf(TUNINGS["GPU with subgroups"]!), await bitsOf(TUNINGS["GPU"]!));
});

Deno.test("w8a8_gemm's tiles fit what every adapter has, and stage a span per lane at most", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "any", rows: "tokens", n: 64, k: 96, dtype: "int8g32" } as const;
  for (const tile of GPU_W8A8.gemmTiles) {
    const name = `${tile.rows} x ${tile.columns}`;
    const own = { w8a8: { ...GPU_W8A8, gemmTiles: [tile] } };
    const [bytes] = w8a8GemmCalls(product, buffers, own).map(workgroupBytes);
    assert(bytes! > 0 && bytes! <= 16_384, name);
    assert(w8a8GemmLanes(tile) <= 256, name);
    assert(4 * Math.max(tile.rows, tile.columns) <= w8a8GemmLanes(tile), name);
    assert(tile.laneColumns % 4 === 0 && 8 * tile.laneRows >= tile.columns, name);
  }
});

for (const [name, w8a8] of Object.entries({ SOFTWARE_W8A8, GPU_W8A8 })) {
  Deno.test(`${name} has one tile for any number of rows`, () => {
    for (let rows = 1; rows < 100; rows++) {
      const serving = [...w8a8.tiles, ...w8a8.gemmTiles]
        .filter(({ minRows, maxRows }) => minRows <= rows && rows <= maxRows);
      assertEquals(serving.length, 1, `${rows} rows`);
    }
  });
}

Deno.test("isW8a8() wants quantized weights, whole spans, and a tuning that says so", () => {
  const on = { usesW8a8: true };
  assert(DTYPES.every((dtype) => isW8a8({ dtype, k: 96 }, on)));
  assert(!isW8a8({ dtype: "int8g32", k: 100 }, on));
  assert(!isW8a8({ dtype: "int8g32", k: 96 }, { usesW8a8: false }));
  for (const dtype of ["bf16", "f16", "f32"] as const) {
    assert(!isW8a8({ dtype, k: 96 }, on), dtype);
  }
});

gpuTest("productCalls() quantizes rows where the tuning multiplies integers", async (gpu) => {
  const [n, k, rows] = [12, 64, 3];
  const { words, dims } = tokensStep(rows);
  const w = weightFixture("int8g32", n, k);
  const outputs = async (dtype: "int8g32", usesW8a8: boolean) => {
    const product = { label: "test", rows: "tokens", n, k, dtype } as const;
    const contents = {
      step: words,
      x: noise(rows * k, 1),
      codes: new Uint32Array(rows * k / 4),
      scales: new Float32Array(rows * k / 32),
      w,
      y: new Float32Array(rows * n),
    };
    const tuning = { ...GPU_TUNING, usesW8a8 };
    const calls = (b: object) => productCalls(product, b as never, tuning);
    return await runBoth(gpu, contents, calls, dims, "y");
  };
  const [plain, w8a8] = [await outputs("int8g32", false), await outputs("int8g32", true)];
  for (let i = 0; i < rows * n; i++) {
    const error = Math.abs(w8a8.actual.f32[i]! - plain.actual.f32[i]!);
    // Each input is off by at most half of its scale, 1 / 254, and each weight at most 1.
    assert(error < k / 254, `output ${i}: ${error}`);
  }
  assert(
    w8a8.actual.f32.some((value, i) => value !== plain.actual.f32[i]),
    "nothing was quantized",
  );
});

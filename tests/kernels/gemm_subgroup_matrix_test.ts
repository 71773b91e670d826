/**
 * `gemm_subgroup_matrix` with its matrix instructions emulated (`emulated_matrices.ts`), since no software adapter
 * has any: strides, tails, staging, epilogues and barriers are the kernel's own. That the instructions are
 * written as a compiler wants them is `matrix_tint_test.ts`'s to say.
 */
import { assert, assertEquals } from "@std/assert";
import { type Epilogue, weightRows } from "../../kernels/matmul/epilogue.ts";
import { gemmSubgroupMatrixCalls } from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import {
  MATRIX_SHAPES,
  type MatrixShape,
  type MatrixTile,
  type MatrixUnit,
} from "../../kernels/tuning/matrix_tuning.ts";
import { GPU_TUNING } from "../../kernels/tuning/tuning.ts";
import type { WeightDtype } from "../../src/core/weight_format.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { emulateMatrices } from "../support/emulated_matrices.ts";
import { AMD, APPLE, INTEL, NVIDIA, UNEVEN } from "../support/matrix_units.ts";
import { dimsOf, header, matrix, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";

const { few, many } = MATRIX_SHAPES;

interface Case {
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly dtype: WeightDtype;
  readonly epilogue: Epilogue;
  /** Of x. */
  readonly scale?: number;
  /** Lanes of a subgroup where they are fewer than the widest has. */
  readonly subgroupSize?: number;
}

/** Outputs and inputs that fill tiles, that do not, and fewer than one unit has of either. */
const [SMALL, ODD, WHOLE] = [{ n: 4, k: 4 }, { n: 70, k: 100 }, { n: 128, k: 256 }] as const;

/**
 * Compiling is what takes time here: each tile meets some epilogues and types, so that together they meet
 * every line of the template on every kind of unit.
 */
const TESTS:
  readonly (readonly [string, MatrixUnit, MatrixShape, readonly Omit<Case, "rows">[]])[] = [
    ["16x16x16", NVIDIA, few[0]!, [
      { ...SMALL, dtype: "f16", epilogue: "store" },
      { ...ODD, dtype: "f16", epilogue: "silu" },
      { ...WHOLE, dtype: "f16", epilogue: "add" },
    ]],
    ["16x16x16", NVIDIA, many[0]!, [
      { ...ODD, k: 104, dtype: "f16", epilogue: "silu" },
      // Beyond what f16 holds, and below.
      { ...ODD, dtype: "f16", epilogue: "store", scale: 1e6 },
      { ...ODD, dtype: "f16", epilogue: "store", scale: 1e-9 },
    ]],
    ["16x16x16", NVIDIA, many[2]!, [{ ...ODD, dtype: "bf16", epilogue: "silu" }]],
    ["16x16x16 of 64 lanes", AMD, few[1]!, [{
      ...ODD,
      k: 104,
      dtype: "int8g32",
      epilogue: "add",
      subgroupSize: 32,
    }]],
    ["16x16x16 of 64 lanes", AMD, many[1]!, [{ ...ODD, dtype: "int4g32", epilogue: "silu" }]],
    ["8x16x16", INTEL, few[2]!, [{ ...ODD, k: 104, dtype: "int4g32", epilogue: "silu" }]],
    ["8x16x16", INTEL, many[0]!, [{ ...ODD, dtype: "f32", epilogue: "add" }]],
    ["8x8x8 of f32", APPLE, few[0]!, [
      { ...ODD, dtype: "f32", epilogue: "silu" },
      { ...ODD, dtype: "f16", epilogue: "store", scale: 1e6 },
    ]],
    ["8x8x8 of f32", APPLE, many[0]!, [{ ...ODD, k: 104, dtype: "int4g32", epilogue: "add" }]],
    ["16x8x8", UNEVEN, few[0]!, [{ ...ODD, k: 104, dtype: "int8g128", epilogue: "silu" }]],
  ];

function tileOf(shape: MatrixShape, unit: MatrixUnit): MatrixTile {
  return { ...shape, unit, minRows: 1, maxRows: 999 };
}

async function check(gpu: WebGpuDevice, tile: MatrixTile, test: Case) {
  const { n, k, rows, dtype, epilogue, scale = 1, subgroupSize = tile.unit.lanes } = test;
  const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
  const contents = {
    step: header(rows),
    x: poisoned(rows, k, 1, scale),
    codes: new Uint16Array((rows + POISONED_ROWS) * k).fill(0x7e00),
    scales: new Float32Array(rows + POISONED_ROWS).fill(NaN),
    w: matrix(weightRows(n, epilogue), k, dtype),
    y: new Float32Array((rows + POISONED_ROWS) * n).fill(7),
  };
  const tuning = { ...GPU_TUNING, matrixTiles: [tile] };
  const { actual, expected } = await runBoth(
    gpu,
    contents,
    (b) => emulateMatrices(gemmSubgroupMatrixCalls(product, b as never, tuning), subgroupSize),
    dimsOf(rows),
    "y",
  );
  const error = worstError(actual.f32, expected.f32);
  // A gate multiplies an up, whose error it takes along.
  const gated = epilogue === "silu" ? Math.sqrt(k) : 1;
  const rounded = tile.unit.type === "f16" && dtype !== "f16" ? 2 ** -12 * gated : 2e-6;
  assert(error < rounded * k * scale, `${JSON.stringify(test)}: error ${error}`);
  const after = actual.f32.subarray(rows * n);
  assert(after.every((value) => value === 7), "wrote past the last row");
}

for (const [name, unit, shape, variants] of TESTS) {
  const { rows: height, columns, subgroupRows, subgroupColumns } = shape;
  const tile = `${height} x ${columns} by ${subgroupRows} x ${subgroupColumns}`;
  gpuTest(
    `gemm_subgroup_matrix agrees with the definition: units of ${name}, ${tile}`,
    async (gpu) => {
      if (!gpu.capabilities.hasF16) {
        // deno-lint-ignore no-console -- a skip must say why
        return console.warn("skipped: this adapter does not grant shader-f16");
      }
      for (const variant of variants) {
        for (const rows of [1, height - 1, height, height + 1]) {
          await check(gpu, tileOf(shape, unit), { ...variant, rows });
        }
      }
    },
  );
}

gpuTest(
  "gemm_subgroup_matrix writes a part's columns of longer rows, and no others",
  async (gpu) => {
    const [rows, k] = [20, 36];
    const product = {
      label: "test",
      rows: "tokens",
      n: 30,
      k,
      dtype: "f32",
      epilogue: "silu",
    } as const;
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: header(rows),
        x: noise(rows * k, 1),
        scales: new Float32Array(rows),
        first: noise(2 * 20 * k, 2),
        second: noise(2 * 10 * k, 3),
        y: new Float32Array(rows * 30),
      },
      (b) => {
        const buffers = { step: b.step!, x: b.x!, codes: b.x!, scales: b.scales!, y: b.y! };
        const w = [
          { buffer: b.first!, begin: 0, end: 20 },
          { buffer: b.second!, begin: 20, end: 30 },
        ];
        const tuning = { ...GPU_TUNING, matrixTiles: [tileOf(few[0]!, APPLE)] };
        return emulateMatrices(
          gemmSubgroupMatrixCalls(product, { ...buffers, w }, tuning),
          APPLE.lanes,
        );
      },
      dimsOf(rows),
      "y",
    );
    assert(worstError(actual.f32, expected.f32) < 2e-6 * k);
    assert(expected.f32.every((value) => value !== 0));
  },
);

gpuTest("gemm_subgroup_matrix takes weights beyond f16 for the largest of f16", async (gpu) => {
  if (!gpu.capabilities.hasF16) return;
  const product = { label: "test", rows: "tokens", n: 2, k: 4, dtype: "f32" } as const;
  const { actual } = await runBoth(
    gpu,
    {
      step: header(1),
      x: Float32Array.of(1, 0, 0, 0.5),
      codes: new Uint16Array(4),
      scales: new Float32Array(1),
      w: Float32Array.of(1e6, 0, 0, 0, 0, 0, 0, -1e9),
      y: new Float32Array(2),
    },
    (b) => {
      const tuning = { ...GPU_TUNING, matrixTiles: [tileOf(few[0]!, NVIDIA)] };
      return emulateMatrices(gemmSubgroupMatrixCalls(product, b as never, tuning), NVIDIA.lanes);
    },
    dimsOf(1),
    "y",
  );
  assertEquals([...actual.f32.subarray(0, 2)], [65_504, -32_752]);
});

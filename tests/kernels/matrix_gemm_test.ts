/**
 * `matrix_gemm` with its matrix instructions emulated (`emulated_matrices.ts`), since no software adapter
 * has any: strides, tails, staging, epilogues and barriers are the kernel's own. That the instructions are
 * written as a compiler wants them is `matrix_tint_test.ts`'s to say.
 */
import { assert, assertEquals } from "@std/assert";
import { type Epilogue, multiply, productConstants, weightRows } from "../../kernels/matmul.ts";
import {
  halvedRowsBytes,
  matrixGemmBytes,
  matrixGemmCalls,
  matrixLanes,
} from "../../kernels/matrix_gemm.ts";
import {
  MATRIX_SHAPES,
  type MatrixShape,
  type MatrixTile,
  matrixTilesOf,
  type MatrixUnit,
} from "../../kernels/matrix_tuning.ts";
import { normProductCalls, productCalls, productOf } from "../../kernels/product.ts";
import { GPU_TUNING } from "../../kernels/tuning.ts";
import type { WeightDtype } from "../../src/core/weight_format.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { expandWgsl } from "../../src/device/wgsl_template.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { emulateMatrices } from "../support/emulated_matrices.ts";
import { dimsOf, header, matrix, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";

const NVIDIA: MatrixUnit = { type: "f16", m: 16, n: 16, k: 16, lanes: 32 };
const AMD: MatrixUnit = { ...NVIDIA, lanes: 64 };
const INTEL: MatrixUnit = { ...NVIDIA, m: 8 };
const APPLE: MatrixUnit = { type: "f32", m: 8, n: 8, k: 8, lanes: 32 };
const UNEVEN: MatrixUnit = { type: "f16", m: 16, n: 8, k: 8, lanes: 16 };
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
    ["8x16x16", INTEL, few[2]!, [{ ...ODD, k: 104, dtype: "uint4g32", epilogue: "silu" }]],
    ["8x16x16", INTEL, many[0]!, [{ ...ODD, dtype: "f32", epilogue: "add" }]],
    ["8x8x8 of f32", APPLE, few[0]!, [
      { ...ODD, dtype: "f32", epilogue: "silu" },
      { ...ODD, dtype: "f16", epilogue: "store", scale: 1e6 },
    ]],
    ["8x8x8 of f32", APPLE, many[0]!, [{ ...ODD, k: 104, dtype: "int4g32", epilogue: "add" }]],
    ["16x8x8", UNEVEN, few[0]!, [{ ...ODD, k: 104, dtype: "uint8g128", epilogue: "silu" }]],
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
    (b) => emulateMatrices(matrixGemmCalls(product, b as never, tuning), subgroupSize),
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
  gpuTest(`matrix_gemm agrees with the definition: units of ${name}, ${tile}`, async (gpu) => {
    if (!gpu.capabilities.hasF16) {
      // deno-lint-ignore no-console -- a skip must say why
      return console.warn("skipped: this adapter does not grant shader-f16");
    }
    for (const variant of variants) {
      for (const rows of [1, height - 1, height, height + 1]) {
        await check(gpu, tileOf(shape, unit), { ...variant, rows });
      }
    }
  });
}

/** The units and shapes that tuning and autotuning may come to. */
function* everyTile(): Generator<MatrixTile> {
  for (const unit of [NVIDIA, AMD, INTEL, APPLE, UNEVEN]) {
    for (const shape of [...few, ...many]) yield tileOf(shape, unit);
  }
}

Deno.test("matrix_gemm's tiles fit shared memory and lanes that matrixUnitOf() asks for", () => {
  for (const tile of everyTile()) {
    const { unit, subgroupRows, subgroupColumns } = tile;
    assert(matrixGemmBytes(tile, "silu") <= 32_768, JSON.stringify(tile));
    assert(matrixLanes(tile) <= 8 * unit.lanes && matrixLanes(tile) % unit.lanes === 0);
    // A subgroup holds the gates and the ups of the same outputs.
    assertEquals([subgroupRows % unit.m, subgroupColumns % (2 * unit.n)], [0, 0]);
  }
});

Deno.test("matrixGemmBytes() is what the template declares", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "any", rows: "tokens", ...ODD, dtype: "f16" } as const;
  for (const tile of everyTile()) {
    for (const epilogue of ["store", "silu"] as const) {
      const tuning = { ...GPU_TUNING, matrixTiles: [tile] };
      const { source, constants } = matrixGemmCalls({ ...product, epilogue }, buffers, tuning).at(
        -1,
      )!;
      const text = expandWgsl(source, constants);
      const value = (name: string) =>
        Number(new RegExp(`const ${name}: u32 = (\\d+)u`).exec(text)![1]);
      const elements = (value("ROWS") + value("COLUMNS")) * value("PITCH");
      const sums = value("SUBGROUPS") * value("SHARES") * value("AREA");
      const bytes = elements * (tile.unit.type === "f16" ? 2 : 4) + 4 * sums;
      assertEquals(matrixGemmBytes(tile, epilogue), bytes);
    }
  }
});

Deno.test("matrix_gemm's definition differs from matmul's by the rounding of its rows alone", async () => {
  const { n, k } = ODD;
  const rows = 40;
  for (const unit of [NVIDIA, APPLE]) {
    const device = new ReferenceDevice();
    const x = noise(rows * k, 1, 1e5);
    const w = noise(n * k, 2);
    const bytes = { step: 64, x: x.byteLength, ...halvedRowsBytes(rows, k), w: w.byteLength };
    const buffers: Record<string, DeviceBuffer> = {};
    for (const [name, length] of Object.entries({ ...bytes, y: 4 * rows * n })) {
      buffers[name] = await device.createBuffer(name, length);
    }
    device.write(buffers.step!, 0, header(rows));
    device.write(buffers.x!, 0, new Uint8Array(x.buffer));
    device.write(buffers.w!, 0, new Uint8Array(w.buffer));
    const product = { label: "any", rows: "tokens", n, k, dtype: "f32" } as const;
    const tuning = { ...GPU_TUNING, matrixTiles: [tileOf(few[0]!, unit)] };
    const program = await device.compile(matrixGemmCalls(product, buffers as never, tuning));
    await device.run(program, dimsOf(rows), { buffer: buffers.y!, bytes: 4 });
    const y = new Float32Array((await device.read(buffers.y!, 0, 4 * rows * n)).buffer);
    const expected = new Float32Array(rows * n);
    multiply({ rows, x, w, y: expected }, productConstants(product));
    const magnitudes = new Float32Array(rows * n);
    const [absX, absW] = [x.map(Math.abs), w.map(Math.abs)];
    multiply({ rows, x: absX, w: absW, y: magnitudes }, productConstants(product));
    const rounding = unit.type === "f16" ? 2 ** -10 : 0;
    y.forEach((value, i) => {
      assert(Math.abs(value - expected[i]!) <= (rounding + 1e-6) * magnitudes[i]!, `${i}`);
    });
  }
});

gpuTest("productCalls() runs one kernel of the three, for any number of rows", async (gpu) => {
  const [n, k] = [12, 8];
  const product = { label: "test", rows: "tokens", n, k, dtype: "f32", epilogue: "add" } as const;
  const tuning = { ...GPU_TUNING, matrixTiles: matrixTilesOf(APPLE) };
  for (const rows of [1, 8, 9, 16, 17, 64, 65, 90]) {
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: header(rows),
        x: noise(rows * k, 1),
        codes: new Uint16Array(rows * k),
        scales: new Float32Array(rows),
        w: noise(n * k, 2),
        y: new Float32Array(rows * n),
      },
      (b) => emulateMatrices(productCalls(product, b as never, tuning), APPLE.lanes),
      dimsOf(rows),
      "y",
    );
    assert(worstError(actual.f32, expected.f32) < 2e-6 * k, `${rows} rows`);
    assert(expected.f32.some((value) => value !== 0));
  }
});

Deno.test("productCalls() and normProductCalls() halve rows for the units, and only in their steps", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const norms = { ...buffers, norm: buffer, normed: buffer };
  const product = { label: "test", rows: "tokens", n: 4, k: 4, dtype: "f16", eps: 1e-5 } as const;
  const kernelsAt = (rows: number, unit: MatrixUnit) => {
    const tuning = { ...GPU_TUNING, matrixTiles: matrixTilesOf(unit) };
    const calls = [
      productCalls(product, buffers, tuning),
      normProductCalls(product, norms, tuning),
    ];
    return calls.map((some) =>
      some.filter(({ workgroups }) => workgroups(dimsOf(rows)).every((count) => count > 0))
        .map(({ kernelName }) => kernelName)
    );
  };
  assertEquals(kernelsAt(16, NVIDIA), [["gemm"], ["rms_norm", "gemm"]]);
  for (const rows of [17, 64, 65, 3000]) {
    const halved = ["halve_rows", "matrix_gemm"];
    assertEquals(kernelsAt(rows, NVIDIA), [halved, ["rms_norm", ...halved]]);
    assertEquals(kernelsAt(rows, APPLE), [["matrix_gemm"], ["rms_norm", "matrix_gemm"]]);
  }
});

Deno.test("productOf() knows a call of matrix_gemm, and that halve_rows is none", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "o", rows: "samples", ...ODD, dtype: "int4g32" } as const;
  const tuning = { ...GPU_TUNING, matrixTiles: matrixTilesOf(NVIDIA) };
  const [halving, ...others] = matrixGemmCalls(product, buffers, tuning);
  assertEquals(productOf(halving!), undefined);
  assertEquals(others.map(productOf), [product, product]);
});

/** How calls of `gemm_subgroup_matrix` come about, and its definition; `gemm_subgroup_matrix_test.ts` runs the kernel. */
import { assert, assertEquals } from "@std/assert";
import { multiply, productConstants } from "../../kernels/matmul/matmul.ts";
import {
  castRowsBytes,
  gemmSubgroupMatrixCalls,
  matrixLanes,
} from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import {
  MATRIX_SHAPES,
  type MatrixShape,
  type MatrixTile,
  matrixTilesOf,
  type MatrixUnit,
} from "../../kernels/tuning/matrix_tuning.ts";
import { normProductCalls, productCalls, productOf } from "../../kernels/matmul/product.ts";
import { GPU_TUNING } from "../../kernels/tuning/tuning.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { emulateMatrices } from "../support/emulated_matrices.ts";
import { AMD, APPLE, INTEL, NVIDIA, UNEVEN } from "../support/matrix_units.ts";
import { dimsOf, header } from "../support/product_fixture.ts";
import { workgroupBytes } from "../support/workgroup_memory.ts";

const { few, many } = MATRIX_SHAPES;
const ODD = { n: 70, k: 100 } as const;

function tileOf(shape: MatrixShape, unit: MatrixUnit): MatrixTile {
  return { ...shape, unit, minRows: 1, maxRows: 999 };
}

/** The units and shapes that tuning and autotuning may come to. */
function* everyTile(): Generator<MatrixTile> {
  for (const unit of [NVIDIA, AMD, INTEL, APPLE, UNEVEN]) {
    for (const shape of [...few, ...many]) yield tileOf(shape, unit);
  }
}

Deno.test("gemm_subgroup_matrix's tiles fit shared memory and lanes that matrixUnitOf() asks for", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  for (const tile of everyTile()) {
    const { unit, subgroupRows, subgroupColumns } = tile;
    for (const epilogue of ["store", "silu"] as const) {
      const product = { label: "any", rows: "tokens", ...ODD, dtype: "f16", epilogue } as const;
      const tuning = { ...GPU_TUNING, matrixTiles: [tile] };
      const bytes = workgroupBytes(gemmSubgroupMatrixCalls(product, buffers, tuning).at(-1)!);
      assert(bytes > 0 && bytes <= 32_768, JSON.stringify(tile));
    }
    assert(matrixLanes(tile) <= 8 * unit.lanes && matrixLanes(tile) % unit.lanes === 0);
    // A subgroup holds the gates and the ups of the same outputs.
    assertEquals([subgroupRows % unit.m, subgroupColumns % (2 * unit.n)], [0, 0]);
  }
});

Deno.test("gemm_subgroup_matrix's definition differs from matmul's by the rounding of its rows alone", async () => {
  const { n, k } = ODD;
  const rows = 40;
  for (const unit of [NVIDIA, APPLE]) {
    const device = new ReferenceDevice();
    const x = noise(rows * k, 1, 1e5);
    const w = noise(n * k, 2);
    const step = header(rows);
    const bytes = {
      step: step.byteLength,
      x: x.byteLength,
      ...castRowsBytes(rows, k),
      w: w.byteLength,
    };
    const buffers: Record<string, DeviceBuffer> = {};
    for (const [name, length] of Object.entries({ ...bytes, y: 4 * rows * n })) {
      buffers[name] = await device.createBuffer(name, length);
    }
    device.write(buffers.step!, 0, step);
    device.write(buffers.x!, 0, new Uint8Array(x.buffer));
    device.write(buffers.w!, 0, new Uint8Array(w.buffer));
    const product = { label: "any", rows: "tokens", n, k, dtype: "f32" } as const;
    const tuning = { ...GPU_TUNING, matrixTiles: [tileOf(few[0]!, unit)] };
    const program = await device.compile(
      gemmSubgroupMatrixCalls(product, buffers as never, tuning),
    );
    await device.run(program, dimsOf(rows), { buffer: buffers.y!, bytes: 4 });
    const y = new Float32Array((await device.read(buffers.y!, 0, 4 * rows * n)).buffer);
    const expected = new Float32Array(rows * n);
    const [none, shape] = [new Float32Array(), productConstants(product, undefined)];
    multiply({ rows, x, w }, { y: expected, bias: none }, shape);
    const magnitudes = new Float32Array(rows * n);
    const [absX, absW] = [x.map(Math.abs), w.map(Math.abs)];
    multiply({ rows, x: absX, w: absW }, { y: magnitudes, bias: none }, shape);
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
    const halved = ["cast_rows_f16", "gemm_subgroup_matrix"];
    assertEquals(kernelsAt(rows, NVIDIA), [halved, ["rms_norm", ...halved]]);
    assertEquals(kernelsAt(rows, APPLE), [["gemm_subgroup_matrix"], [
      "rms_norm",
      "gemm_subgroup_matrix",
    ]]);
  }
});

Deno.test("productOf() knows a call of gemm_subgroup_matrix, and that cast_rows_f16 is none", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "o", rows: "draws", ...ODD, dtype: "int4g32" } as const;
  const tuning = { ...GPU_TUNING, matrixTiles: matrixTilesOf(NVIDIA) };
  const [halving, ...others] = gemmSubgroupMatrixCalls(product, buffers, tuning);
  assertEquals(productOf(halving!), undefined);
  const found = { ...product, isW8a8: false };
  assertEquals(others.map(productOf), [found, found]);
});

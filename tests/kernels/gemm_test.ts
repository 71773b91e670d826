import { assert, assertEquals } from "@std/assert";
import { gemmCalls } from "../../kernels/matmul/gemm.ts";
import { type Epilogue, weightRows } from "../../kernels/matmul/epilogue.ts";
import { normProductCalls, productCalls } from "../../kernels/matmul/product.ts";
import {
  type GemmTile,
  GPU_TUNING,
  SOFTWARE_TUNING,
  tuningFor,
} from "../../kernels/tuning/tuning.ts";
import type { WeightDtype } from "../../src/core/weight_format.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { dimsOf, header, matrix, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";
import { workgroupBytes } from "../support/workgroup_memory.ts";

/** Outputs and inputs that fill tiles, that do not, and fewer than one tile has of either. */
const [SMALL, ODD, WHOLE] = [{ n: 4, k: 4 }, { n: 70, k: 100 }, { n: 128, k: 256 }] as const;

type Variant = Pick<Case, "n" | "k" | "epilogue">;

/**
 * Compiling is what takes time here. What the types of weights change is apart from what shapes and
 * epilogues do, so that few combinations meet every line of the template.
 */
const EVERY_SHAPE: readonly Variant[] = [
  { ...SMALL, epilogue: "store" },
  { ...ODD, epilogue: "add" },
  { ...ODD, epilogue: "silu" },
  { ...WHOLE, epilogue: "store" },
];
const TYPES: readonly (readonly [WeightDtype, stageF16: boolean, readonly Variant[]])[] = [
  ["f32", false, EVERY_SHAPE],
  // Eight weights per load take an input length that is a multiple of 8; and with an edge.
  ["f16", true, [{ ...ODD, k: 104, epilogue: "silu" }, { ...WHOLE, epilogue: "add" }]],
  ["f16", false, [{ ...ODD, epilogue: "store" }]],
  ["bf16", true, [{ ...ODD, epilogue: "store" }]],
  // Groups that a row does not fill, and loads of one four and of two.
  ["int8g32", true, [{ ...ODD, epilogue: "store" }, { ...ODD, k: 104, epilogue: "silu" }]],
  ["int8g128", false, [{ ...ODD, k: 104, epilogue: "store" }]],
  ["int4g32", true, [{ ...ODD, epilogue: "store" }, { ...ODD, k: 104, epilogue: "silu" }]],
  ["int4g128", false, [{ ...ODD, k: 104, epilogue: "add" }]],
];

interface Case {
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly dtype: WeightDtype;
  readonly epilogue: Epilogue;
}

async function check(gpu: WebGpuDevice, tile: GemmTile, stageF16: boolean, test: Case) {
  const { n, k, rows, dtype, epilogue } = test;
  const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
  const contents = {
    step: header(rows),
    x: poisoned(rows, k, 1),
    w: matrix(weightRows(n, epilogue), k, dtype),
    y: new Float32Array((rows + POISONED_ROWS) * n).fill(7),
  };
  const tuning = { ...GPU_TUNING, gemmTiles: [{ ...tile, minRows: 1, maxRows: 99 }], stageF16 };
  const { actual, expected } = await runBoth(
    gpu,
    contents,
    (b) => gemmCalls(product, b as never, tuning),
    dimsOf(rows),
    "y",
  );
  const error = worstError(actual.f32, expected.f32);
  assert(error < 2e-6 * k, `${JSON.stringify(test)}: error ${error}`);
  const after = actual.f32.subarray(rows * n);
  assert(after.every((value) => value === 7), "wrote past the last row");
}

for (const tile of GPU_TUNING.gemmTiles) {
  for (const [dtype, stageF16, variants] of TYPES) {
    const name = `${tile.rows} x ${tile.columns}, ${dtype}${stageF16 ? ", f16 allowed" : ""}`;
    gpuTest(`gemm agrees with the definition: ${name}`, async (gpu) => {
      if (stageF16 && dtype === "f16" && !gpu.capabilities.hasF16) {
        // deno-lint-ignore no-console -- a skip must say why
        return console.warn("skipped: this adapter does not grant shader-f16");
      }
      for (const variant of variants) {
        for (const rows of [1, tile.rows - 1, tile.rows, tile.rows + 1]) {
          await check(gpu, tile, stageF16, { ...variant, rows, dtype });
        }
      }
    });
  }
}

Deno.test("gemm's tiles fit the shared memory that every adapter has", () => {
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, x: buffer, w: buffer, y: buffer };
  const product = { label: "any", rows: "tokens", n: 512, k: 512, dtype: "f16" } as const;
  for (const stageF16 of [true, false]) {
    for (const call of gemmCalls(product, buffers, { ...GPU_TUNING, stageF16 })) {
      const bytes = workgroupBytes(call);
      assert(bytes > 0 && bytes <= 16_384, `${call.constants.ROWS} rows, ${bytes} bytes`);
    }
  }
});

gpuTest("productCalls() runs one kernel, for any number of rows", async (gpu) => {
  const [n, k] = [12, 8];
  const product = { label: "test", rows: "tokens", n, k, dtype: "f32", epilogue: "add" } as const;
  for (const rows of [1, 8, 9, 16, 17, 64, 65, 90]) {
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: header(rows),
        x: noise(rows * k, 1),
        w: noise(n * k, 2),
        y: new Float32Array(rows * n),
      },
      (b) => productCalls(product, b as never, GPU_TUNING),
      dimsOf(rows),
      "y",
    );
    assert(worstError(actual.f32, expected.f32) < 2e-6 * k, `${rows} rows`);
  }
});

gpuTest("normProductCalls() normalizes rows for gemm as for matmul", async (gpu) => {
  const [n, k] = [12, 8];
  const product = { label: "test", rows: "tokens", n, k, dtype: "f32", eps: 1e-5 } as const;
  for (const rows of [2, 8, 9, 65]) {
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: header(rows),
        x: noise(rows * k, 1),
        norm: noise(k, 3),
        normed: new Float32Array(rows * k),
        w: noise(n * k, 2),
        y: new Float32Array(rows * n),
      },
      (b) => normProductCalls(product, b as never, GPU_TUNING),
      dimsOf(rows),
      "y",
    );
    const error = worstError(actual.f32, expected.f32);
    assert(error < 1e-5 && expected.f32.some((value) => value !== 0), `${rows} rows: ${error}`);
  }
});

Deno.test("productCalls() leaves gemm out where the tuning has no tiles for it", async () => {
  const device = new ReferenceDevice();
  const buffer = await device.createBuffer("b", 4);
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "test", rows: "tokens", n: 4, k: 4, dtype: "f32" } as const;
  const kernelsAt = (rows: number, tuning: typeof GPU_TUNING) =>
    productCalls(product, buffers, tuning)
      .filter(({ workgroups }) => workgroups(dimsOf(rows)).every((count) => count > 0))
      .map(({ kernelName }) => kernelName);
  const gpu = { ...device.capabilities, tier: "baseline" } as const;
  for (const rows of [1, 4, 5, 8, 9, 64, 500]) {
    assertEquals(kernelsAt(rows, SOFTWARE_TUNING), ["matmul"]);
    assertEquals(kernelsAt(rows, tuningFor(gpu, { isDeterministic: true })), ["matmul"]);
    assertEquals(kernelsAt(rows, tuningFor(gpu)), [rows > 8 ? "gemm" : "matmul"]);
  }
});

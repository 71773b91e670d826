/** What becomes of a product's sums, in every kernel of products, where it is not as the kernels' own tests have it. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  activate,
  type Activation,
  erf,
  type Finish,
  finishConstants,
  weightRows,
} from "../../kernels/matmul/epilogue.ts";
import { gemmCalls } from "../../kernels/matmul/gemm.ts";
import { gemmSubgroupMatrixCalls } from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import { matmulCalls } from "../../kernels/matmul/matmul.ts";
import { normMatmulCalls } from "../../kernels/matmul/norm_matmul.ts";
import { w8a8GemmCalls } from "../../kernels/matmul/w8a8_gemm.ts";
import { w8a8MatmulCalls } from "../../kernels/matmul/w8a8_matmul.ts";
import type { StepDims } from "../../kernels/step.ts";
import { MATRIX_SHAPES } from "../../kernels/tuning/matrix_tuning.ts";
import { GPU_TUNING, SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { gpuTest, noise, runBoth, runOn, worstError } from "../support/agreement.ts";
import { emulateMatrices } from "../support/emulated_matrices.ts";
import { APPLE } from "../support/matrix_units.ts";
import { dimsOf, header, matrix, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";
import { runW8a8 } from "../support/w8a8_fixture.ts";

/** Outputs that fill no tile, and inputs that fill no load; of codes, whole spans of inputs. */
const [N, K, CODED_K] = [35, 36, 96];

/** Every line of the epilogue that the kernels' own tests leave out: what one kernel is tested with. */
const FINISHES: readonly (Finish & { readonly hasBias: boolean })[] = [
  { epilogue: "gelu_tanh", hasBias: false },
  { epilogue: "gelu", hasBias: true },
  { epilogue: "silu", hasBias: true },
  { epilogue: "add", scale: 0.22, hasBias: true },
  { epilogue: "add", scale: 3, hasBias: false },
  // Where sums reach the cap, and where only what the scale leaves of them does not.
  { epilogue: "store", softCap: 1.5, hasBias: true },
  { epilogue: "store", softCap: 30, scale: 0.125, hasBias: false },
];

/** What a kernel hands to the epilogue: sums and ups, and the places of y and of both biases. */
const HANDED_OVER = FINISHES.slice(1, 4);

type Calls = (product: typeof PRODUCT & Finish, buffers: never) => KernelCall<StepDims>[];
const PRODUCT = { label: "test", rows: "tokens", n: N, k: K, dtype: "f16", eps: 1e-5 } as const;

const gemmTuning = (at: number) => ({
  ...GPU_TUNING,
  gemmTiles: [{ ...GPU_TUNING.gemmTiles[at]!, minRows: 1, maxRows: 99 }],
});

/** The kernels whose rows are f32, a tiling of each way of adding up; the first meets every finish. */
const KERNELS: Readonly<Record<string, Calls>> = {
  "matmul, CPU threads": (product, b) => matmulCalls(product, b, SOFTWARE_TUNING),
  "matmul, GPU": (product, b) => matmulCalls(product, b, GPU_TUNING),
  "norm_matmul": (product, b) => normMatmulCalls(product, b, GPU_TUNING),
  "gemm with slices": (product, b) => gemmCalls(product, b, gemmTuning(0)),
  "gemm": (product, b) => gemmCalls(product, b, gemmTuning(GPU_TUNING.gemmTiles.length - 1)),
  "gemm_subgroup_matrix": (product, b) => {
    const tile = { ...MATRIX_SHAPES.few[0]!, unit: APPLE, minRows: 1, maxRows: 999 };
    const calls = gemmSubgroupMatrixCalls(product, b, { ...GPU_TUNING, matrixTiles: [tile] });
    return emulateMatrices(calls, APPLE.lanes);
  },
};

/** Biases of outputs and ups, and poison after them. */
function biases(epilogue: Finish["epilogue"] = "store"): Float32Array {
  return poisoned(weightRows(N, epilogue), 1, 6);
}

function contentsOf(rows: number, { epilogue = "store", hasBias }: typeof FINISHES[number]) {
  return {
    step: header(rows),
    x: poisoned(rows, K, 1),
    norm: noise(K, 3),
    normed: poisoned(rows, K, 1),
    scales: new Float32Array(rows),
    codes: new Float32Array(rows),
    w: matrix(weightRows(N, epilogue), K, "f16"),
    y: new Float32Array((rows + POISONED_ROWS) * N).fill(7),
    ...(hasBias ? { bias: biases(epilogue) } : {}),
  };
}

for (const [at, [name, calls]] of Object.entries(KERNELS).entries()) {
  gpuTest(`sums become outputs as the definition says: ${name}`, async (gpu) => {
    for (const { hasBias, ...finish } of at === 0 ? FINISHES : HANDED_OVER) {
      for (const rows of at === 0 ? [1, 33] : [5]) {
        const { actual, expected } = await runBoth(
          gpu,
          contentsOf(rows, { ...finish, hasBias }),
          (b) => calls({ ...PRODUCT, ...finish }, b as never),
          dimsOf(rows),
          "y",
        );
        const test = `${JSON.stringify(finish)}, ${rows} rows`;
        const error = worstError(actual.f32, expected.f32);
        // Less than the sums' bounds and the epilogue's come to, as in the kernels' own tests.
        assert(error < 4e-6 * K, `${test}: error ${error}`);
        assert(
          actual.f32.subarray(rows * N).every((value) => value === 7),
          `${test}: past the end`,
        );
        assert(expected.f32.subarray(0, rows * N).every((value) => value !== 7), test);
      }
    }
  });
}

for (
  const [name, calls] of Object.entries({ w8a8_matmul: w8a8MatmulCalls, w8a8_gemm: w8a8GemmCalls })
) {
  gpuTest(`sums of codes become outputs as the definition says: ${name}`, async (gpu) => {
    const gemmTiles = [{ ...GPU_TUNING.w8a8.gemmTiles[0]!, minRows: 1, maxRows: 99 }];
    const tuning = { ...GPU_TUNING, w8a8: { ...GPU_TUNING.w8a8, gemmTiles } };
    for (const { hasBias, epilogue = "store", ...finish } of HANDED_OVER) {
      const rows = 5;
      const { actual, expected } = await runW8a8(gpu, calls, tuning, {
        ...{ n: N, k: CODED_K, rows, dtype: "int8g32", epilogue },
        ...finish,
        ...(hasBias ? { bias: biases(epilogue) } : {}),
      });
      const test = `${epilogue}, ${JSON.stringify(finish)}, ${rows} rows`;
      const error = worstError(actual.f32, expected.f32);
      assert(error < 4e-6 * CODED_K, `${test}: error ${error}`);
      assert(
        actual.f32.subarray(rows * N).every((value) => value === 7),
        `${test}: past the end`,
      );
    }
  });
}

gpuTest("each shard of a matrix takes its own biases, of outputs and of ups", async (gpu) => {
  const [rows, cut] = [3, 12];
  for (const { hasBias, ...finish } of HANDED_OVER) {
    const { w, ...contents } = contentsOf(rows, { ...finish, hasBias });
    const values = w as Uint16Array;
    const part = (begin: number, end: number) => {
      const outputs = values.slice(begin * K, end * K);
      const ups = values.slice((N + begin) * K, (N + end) * K);
      return Uint16Array.from(
        finish.epilogue === "add" || finish.epilogue === "store" ? outputs : [...outputs, ...ups],
      );
    };
    const outputs = async (isCut: boolean) => {
      const y = await runOn(
        gpu,
        { ...contents, w: values, first: part(0, cut), second: part(cut, N) },
        ({ first, second, w, ...b }) => {
          const shards = [{ buffer: first!, begin: 0, end: cut }, {
            buffer: second!,
            begin: cut,
            end: N,
          }];
          const buffers = { ...b, w: isCut ? shards : w } as never;
          return matmulCalls({ ...PRODUCT, ...finish }, buffers, SOFTWARE_TUNING);
        },
        dimsOf(rows),
        "y",
      );
      return [...y.u32];
    };
    assertEquals(await outputs(true), await outputs(false), JSON.stringify(finish));
  }
});

for (const activation of ["silu", "gelu", "gelu_tanh"] as const satisfies readonly Activation[]) {
  gpuTest(`${activation} is within its bound for gates of every size`, async (gpu) => {
    const gates = Float32Array.from([
      ...Array.from({ length: 401 }, (_, i) => (i - 200) / 10),
      ...[1e-20, -1e-20, 87, -87, 200, -200, 65_504, -65_504, 1e12, -1e12],
    ]);
    const n = gates.length;
    // One input is a gate's value, another the 1 of every up.
    const w = new Float32Array(2 * n * 4);
    gates.forEach((gate, i) => w.set([gate, 0, 0, 0], 4 * i));
    for (let i = 0; i < n; i++) w[4 * (n + i) + 1] = 1;
    const product = { label: "test", rows: "tokens", n, k: 4, dtype: "f32" } as const;
    const y = await runOn(
      gpu,
      { step: header(1), x: Float32Array.of(1, 1, 0, 0), w, y: new Float32Array(n) },
      (b) => matmulCalls({ ...product, epilogue: activation }, b as never, SOFTWARE_TUNING),
      dimsOf(1),
      "y",
    );
    gates.forEach((gate, i) => {
      const error = Math.abs(y.f32[i]! - activate(activation, gate));
      assert(error <= 1e-6 * Math.abs(gate), `${gate}: ${y.f32[i]}, off by ${error}`);
    });
  });
}

gpuTest(
  "a soft cap bounds logits, keeps their order, and leaves an overflow to be seen",
  async (gpu) => {
    const cap = 30;
    const logits = Float32Array.of(
      -1e30,
      -300,
      -30,
      -0.5,
      0,
      1e-3,
      29,
      31,
      100,
      3e38,
      NaN,
      Infinity,
    );
    const product = {
      label: "test",
      rows: "tokens",
      n: logits.length,
      k: 4,
      dtype: "f32",
    } as const;
    const w = new Float32Array(logits.length * 4);
    logits.forEach((logit, i) => w[4 * i] = logit);
    const { actual, expected } = await runBoth(
      gpu,
      { step: header(1), x: Float32Array.of(1, 1, 1, 1), w, y: new Float32Array(logits.length) },
      (b) => matmulCalls({ ...product, softCap: cap }, b as never, SOFTWARE_TUNING),
      dimsOf(1),
      "y",
    );
    const finite = logits.length - 2;
    for (let i = 0; i < finite; i++) {
      const exact = cap * Math.tanh(logits[i]! / cap);
      assert(Math.abs(actual.f32[i]! - exact) < 1e-6 * cap, `${logits[i]}: ${actual.f32[i]}`);
      assert(Math.abs(expected.f32[i]! - exact) < 1e-6 * cap, `${logits[i]}: ${expected.f32[i]}`);
      assert(i === 0 || actual.f32[i]! >= actual.f32[i - 1]!, `${logits[i]} is out of order`);
    }
    for (const { f32 } of [actual, expected]) {
      assert(Number.isNaN(f32[finite]) && f32[finite + 1] === Infinity, `${f32.subarray(finite)}`);
    }
  },
);

Deno.test("erf() and the activations have their known values", () => {
  // DLMF, table 7.2.1 extended; Phi(1) and Phi(-1).
  assertAlmostEquals(erf(0.5), 0.520499877813046538, 1e-15);
  assertAlmostEquals(erf(-1), -0.842700792949714869, 1e-15);
  assertAlmostEquals(erf(3), 0.999977909503001415, 1e-15);
  assertEquals([erf(0), erf(7), erf(-7)], [0, 1, -1]);
  assert(Number.isNaN(erf(NaN)));
  assertAlmostEquals(activate("gelu", 1), 0.841344746068542948, 1e-15);
  assertAlmostEquals(activate("gelu", -1), -0.158655253931457051, 1e-15);
  assertAlmostEquals(activate("gelu_tanh", 1), 0.841191990608276, 1e-12);
  assertAlmostEquals(activate("silu", 1), 0.731058578630004879, 1e-15);
});

Deno.test("a gated product has no scale, and only what is stored has a cap", () => {
  assertThrows(() => finishConstants({ n: 4, epilogue: "gelu", scale: 2 }, undefined));
  assertThrows(() => finishConstants({ n: 4, epilogue: "add", softCap: 30 }, undefined));
  assertThrows(() => finishConstants({ n: 4, softCap: 0 }, undefined));
});

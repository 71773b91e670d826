import { assert, assertEquals } from "@std/assert";
import { type Epilogue, weightRows } from "../../kernels/matmul/epilogue.ts";
import { matmulCalls } from "../../kernels/matmul/matmul.ts";
import { normMatmulCalls } from "../../kernels/matmul/norm_matmul.ts";
import {
  DRAW,
  DRAW_WORDS,
  HEADER_WORDS,
  NO_WORK,
  STEP,
  type StepDims,
} from "../../kernels/step.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { isQuantized, type WeightDtype } from "../../src/core/weight_format.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth, runOn, worstError } from "../support/agreement.ts";
import { WEIGHT_DTYPES, weightFixture } from "../support/weight_fixture.ts";

/** Rows at every tile's edges; outputs that do not fill a tile; rows of odd and even fours. */
const ROWS = [1, 2, 3, 4, 5, 8, 9, 33];
const SHAPES = [{ n: 4, k: 4 }, { n: 70, k: 36 }, { n: 130, k: 200 }] as const;
/** Every epilogue where outputs do not fill a tile, and elsewhere the one that has two sums or what it adds to. */
const PLAIN_CASES = [
  { ...SHAPES[0], epilogue: "add" },
  { ...SHAPES[1], epilogue: "store" },
  { ...SHAPES[1], epilogue: "add" },
  { ...SHAPES[1], epilogue: "silu" },
  { ...SHAPES[2], epilogue: "silu" },
] as const;
/** Of other types than f16, which differ in how a weight is read. */
const OTHER_PLAIN_CASES = SHAPES.map((shape) => ({ ...shape, epilogue: "silu" as const }));
/** Groups and words that a row does not fill; loads of every width; fewer spans than lanes, and more. */
const QUANTIZED_CASES = [
  { n: 70, k: 36, epilogue: "silu" },
  { n: 9, k: 40, epilogue: "store" },
  { n: 9, k: 672, epilogue: "add" },
] as const;
/**
 * Where lanes of a subgroup share inputs or sums, all formats are read alike: one of
 * each width stands for all.
 */
const SUBGROUP_QUANTIZED: readonly WeightDtype[] = ["int8g128", "int4g32"];

const TUNINGS: Readonly<Record<string, Tuning>> = {
  "CPU threads": SOFTWARE_TUNING,
  "CPU threads with subgroups": { ...SOFTWARE_TUNING, matmulSubgroups: true },
  "GPU": GPU_TUNING,
  "GPU with subgroups": { ...GPU_TUNING, matmulSubgroups: true },
};

/** A test per tuning; those with subgroups need an adapter that grants them. */
function tuningTest(
  name: string,
  isFor: (tuning: Tuning) => boolean,
  run: (gpu: WebGpuDevice, tuning: Tuning) => Promise<void>,
): void {
  for (const [title, tuning] of Object.entries(TUNINGS)) {
    if (!isFor(tuning)) continue;
    gpuTest(`${name}: ${title}`, async (gpu) => {
      const least = tuning.matmulTiles[0]!.slices === 1 ? 8 : 1;
      if (tuning.matmulSubgroups && gpu.capabilities.subgroupMinSize < least) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn(`skipped: the adapter grants no subgroups of ${least}`);
      } else await run(gpu, tuning);
    });
  }
}

const always = () => true;

/** A step of `numTokens` rows, of which `drawn` are drawn from. */
function stepOf(numTokens: number, drawn: readonly number[] = []): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS + drawn.length * DRAW_WORDS);
  words[STEP.numTokens] = numTokens;
  words[STEP.numDraws] = drawn.length;
  words[STEP.draws] = HEADER_WORDS;
  drawn.forEach((row, i) => words[HEADER_WORDS + i * DRAW_WORDS + DRAW.row] = row);
  return words;
}

function dimsOf(numTokens: number, numDraws = 0): StepDims {
  return { ...NO_WORK, numTokens, numDraws };
}

/** `rows` rows of noise and three of NaN, which must not be read. */
function poisonedRows(rows: number, k: number): Float32Array {
  const x = new Float32Array((rows + 3) * k).fill(NaN);
  x.set(noise(rows * k, 1));
  return x;
}

function casesOf(dtype: WeightDtype) {
  if (isQuantized(dtype)) return { shapes: QUANTIZED_CASES, rows: [1, 9] };
  return { shapes: dtype === "f16" ? PLAIN_CASES : OTHER_PLAIN_CASES, rows: ROWS };
}

for (const dtype of WEIGHT_DTYPES) {
  const isFor = ({ matmulSubgroups }: Tuning) =>
    !matmulSubgroups || !isQuantized(dtype) || SUBGROUP_QUANTIZED.includes(dtype);
  tuningTest(`matmul agrees with the definition, ${dtype}`, isFor, async (gpu, tuning) => {
    const { shapes, rows: counts } = casesOf(dtype);
    for (const { n, k, epilogue } of shapes) {
      const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
      const w = weightFixture(dtype, epilogue === "silu" ? 2 * n : n, k);
      for (const rows of counts) {
        const y = new Float32Array((rows + 3) * n).fill(7);
        const { actual, expected } = await runBoth(
          gpu,
          { step: stepOf(rows), x: poisonedRows(rows, k), w, y },
          (b) => matmulCalls(product, b as never, tuning),
          dimsOf(rows),
          "y",
        );
        const error = worstError(actual.f32, expected.f32);
        assert(error < 2e-6 * k, `n ${n} k ${k} rows ${rows} ${epilogue}: error ${error}`);
        assert(actual.f32[rows * n] === 7, "wrote past the last row");
      }
    }
  });
}

tuningTest("norm_matmul agrees with the definition", always, async (gpu, tuning) => {
  for (
    const { n, k, dtype } of [...SHAPES.map((shape) => ({ ...shape, dtype: "f16" as const })), {
      n: 9,
      k: 72,
      dtype: "int4g32" as const,
    }]
  ) {
    for (const rows of [1, 2, 4, 5]) {
      const product = { label: "test", rows: "tokens", n, k, dtype, eps: 1e-5 } as const;
      const { actual, expected } = await runBoth(
        gpu,
        {
          step: stepOf(rows),
          x: poisonedRows(rows, k),
          norm: noise(k, 3),
          normed: new Float32Array(rows * k),
          w: weightFixture(dtype, n, k),
          y: new Float32Array((rows + 1) * n).fill(7),
        },
        (b) => normMatmulCalls(product, b as never, tuning),
        dimsOf(rows),
        "y",
      );
      const error = worstError(actual.f32, expected.f32);
      assert(error < 4e-6 * k, `n ${n} k ${k} rows ${rows} ${dtype}: error ${error}`);
    }
  }
});

tuningTest("norm_matmul packs the rows that are drawn from", always, async (gpu, tuning) => {
  const [n, k] = [20, 64];
  const product = { label: "test", rows: "draws", n, k, dtype: "f16", eps: 1e-5 } as const;
  for (const drawn of [[6], [0, 6], [1, 2, 3, 5, 6]]) {
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: stepOf(7, drawn),
        x: noise(7 * k, 1),
        norm: noise(k, 3),
        normed: new Float32Array(drawn.length * k),
        w: weightFixture("f16", n, k),
        y: new Float32Array(drawn.length * n),
      },
      (b) => normMatmulCalls(product, b as never, tuning),
      dimsOf(7, drawn.length),
      "y",
    );
    const error = worstError(actual.f32, expected.f32);
    assert(error < 1e-4, `rows ${drawn}: error ${error}`);
  }
});

tuningTest("a row's sums have the same bits in any batch", always, async (gpu, tuning) => {
  const [n, k] = [70, 264];
  const batch = noise(33 * k, 1, 3);
  // One sum per output and two; of codes, whose spans are summed up apart.
  await check("f16", "store");
  await check("f16", "silu");
  await check("int4g32", "store");

  async function check(dtype: WeightDtype, epilogue: Epilogue) {
    const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
    const run = async (rows: number) => {
      const contents = {
        step: stepOf(rows),
        x: batch.subarray(0, rows * k),
        norm: noise(k, 3),
        normed: new Float32Array(rows * k),
        w: weightFixture(dtype, weightRows(n, epilogue), k),
        y: new Float32Array(rows * n),
      };
      const dims = dimsOf(rows);
      const plain = await runOn(
        gpu,
        contents,
        (b) => matmulCalls(product, b as never, tuning),
        dims,
        "y",
      );
      const normed = await runOn(
        gpu,
        contents,
        (b) => normMatmulCalls({ ...product, eps: 1e-5 }, b as never, tuning),
        dims,
        "y",
      );
      return [plain, normed].flatMap(({ u32 }) => [...u32.subarray(0, n)]);
    };
    const alone = await run(1);
    for (const rows of [2, 4, 5, 33]) assertEquals(await run(rows), alone);
  }
});

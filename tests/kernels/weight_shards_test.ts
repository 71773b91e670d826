import { assert, assertEquals } from "@std/assert";
import { embedTokensCalls } from "../../kernels/weights/embed_tokens.ts";
import { type Epilogue, weightRows } from "../../kernels/matmul/epilogue.ts";
import { isW8a8 } from "../../kernels/matmul/w8a8_product.ts";
import { normProductCalls, productCalls } from "../../kernels/matmul/product.ts";
import {
  DRAW,
  DRAW_WORDS,
  HEADER_WORDS,
  NO_WORK,
  STEP,
  type StepDims,
} from "../../kernels/step.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { shardProducts, type WeightBuffers } from "../../kernels/weights/weight_shards.ts";
import type { WeightDtype } from "../../src/core/weight_format.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { type Contents, gpuTest, noise, runBoth } from "../support/agreement.ts";
import { fixtureRows, WEIGHT_DTYPES, weightFixture } from "../support/weight_fixture.ts";

/** Where the shards of 70 outputs begin and end: one output, a tile and a bit, and the rest. */
const CUTS = [0, 1, 42, 70];
const N = 70;
/** Draws of the step, whose rows a fused norm packs. */
const DRAWN = [6, 2, 0];

/** One tile of each kind of a tuning, so that not all are compiled: for up to 8 rows, and for more. */
function fewTiles(tuning: Tuning): Tuning {
  const [few] = tuning.matmulTiles.filter(({ minRows }) => minRows === 3 || minRows === 2);
  const rows = { minRows: 1, maxRows: tuning.gemmTiles.length > 0 ? 8 : Infinity };
  const gemmTiles = tuning.gemmTiles.slice(0, 1).map((tile) => ({ ...tile, maxRows: Infinity }));
  return { ...tuning, matmulTiles: [{ ...few!, ...rows }], gemmTiles };
}

/** Products of int8 activations, in one tile of either kernel. */
function w8a8Tiles(tuning: Tuning): Tuning {
  const { tiles, gemmTiles } = tuning.w8a8;
  const maxRows = gemmTiles.length > 0 ? 8 : Infinity;
  const w8a8 = {
    ...tuning.w8a8,
    tiles: tiles.slice(1, 2).map((tile) => ({ ...tile, minRows: 1, maxRows })),
    gemmTiles: gemmTiles.slice(0, 1).map((tile) => ({ ...tile, maxRows: Infinity })),
  };
  return { ...tuning, usesW8a8: true, w8a8 };
}

const TUNINGS = { CPU: fewTiles(SOFTWARE_TUNING), GPU: fewTiles(GPU_TUNING) };
const W8A8_TUNINGS = {
  "int8 activations, CPU": w8a8Tiles(SOFTWARE_TUNING),
  "int8 activations, GPU": w8a8Tiles(GPU_TUNING),
};

/** Every tuning under which a product of this type may run, and a number of inputs for it. */
function tuningsFor(dtype: WeightDtype): (readonly [name: string, tuning: Tuning, k: number])[] {
  return [
    ...Object.entries(TUNINGS).map(([name, tuning]) => [name, tuning, 104] as const),
    ...Object.entries(W8A8_TUNINGS)
      .filter(([, tuning]) => isW8a8({ dtype, k: 96 }, tuning))
      .map(([name, tuning]) => [name, tuning, 96] as const),
  ];
}

/** Room for rows of so many codes, and their scales. */
function quantizedRows(numRows: number, k: number): Contents {
  return {
    codes: new Uint32Array(numRows * k / 4),
    scales: new Float32Array(numRows * Math.ceil(k / 32)),
  };
}

function step(numTokens: number): { words: Uint32Array; dims: StepDims } {
  const words = new Uint32Array(HEADER_WORDS + DRAWN.length * DRAW_WORDS + numTokens);
  words[STEP.numTokens] = numTokens;
  words[STEP.numDraws] = DRAWN.length;
  words[STEP.draws] = HEADER_WORDS;
  words[STEP.tokens] = HEADER_WORDS + DRAWN.length * DRAW_WORDS;
  DRAWN.forEach((row, i) => words[HEADER_WORDS + i * DRAW_WORDS + DRAW.row] = row);
  // Tokens on both sides of every cut, and one that the vocabulary does not have.
  const tokens = [41, 0, 1, 69, 42, 70, 2];
  for (let i = 0; i < numTokens; i++) words[words[STEP.tokens]! + i] = tokens[i % tokens.length]!;
  return { words, dims: { ...NO_WORK, numTokens, numDraws: DRAWN.length } };
}

interface Case {
  readonly dtype: WeightDtype;
  readonly rowsPerOutput: number;
  readonly k: number;
}

/** The shards of a matrix as contents `w0`, `w1`, ..., and the whole as `w`. */
function cutContents({ dtype, rowsPerOutput, k }: Case): Contents {
  const numRows = N * rowsPerOutput;
  const w = weightFixture(dtype, numRows, k);
  const shards = CUTS.slice(1).map((end, i) => {
    const ranges = Array.from(
      { length: rowsPerOutput },
      (_, j) => [j * N + CUTS[i]!, j * N + end] as const,
    );
    return [`w${i}`, fixtureRows(w, { dtype, numRows, columns: k }, ranges)] as const;
  });
  return { w, ...Object.fromEntries(shards) };
}

function shards(buffers: Record<string, DeviceBuffer>): WeightBuffers {
  return CUTS.slice(1).map((end, i) => ({ buffer: buffers[`w${i}`]!, begin: CUTS[i]!, end }));
}

/** On both devices the shards must give every bit that the whole gives, and touch nothing else. */
async function checkBits(
  gpu: WebGpuDevice,
  contents: Contents,
  dims: StepDims,
  calls: (
    buffers: Record<string, DeviceBuffer>,
    w: WeightBuffers,
  ) => readonly KernelCall<StepDims>[],
): Promise<void> {
  const whole = await runBoth(gpu, contents, (b) => calls(b, b.w!), dims, "y");
  const cut = await runBoth(gpu, contents, (b) => calls(b, shards(b)), dims, "y");
  assertEquals(cut.actual.u32, whole.actual.u32, "on the GPU adapter");
  assertEquals(cut.expected.u32, whole.expected.u32, "by the definitions");
  assert(cut.actual.f32.subarray(0, N).every((value) => value !== 7), "outputs are missing");
}

const EVERY_EPILOGUE: readonly WeightDtype[] = ["f16", "int8g32", "int4g128"];

for (const dtype of WEIGHT_DTYPES) {
  for (const [name, tuning, k] of tuningsFor(dtype)) {
    gpuTest(
      `productCalls() gives the same bits with a matrix in shards: ${dtype}, ${name}`,
      async (gpu) => {
        const epilogues: readonly Epilogue[] = EVERY_EPILOGUE.includes(dtype)
          ? ["store", "add", "silu"]
          : ["silu"];
        for (const epilogue of epilogues) {
          const product = { label: "test", rows: "tokens", n: N, k, dtype, epilogue } as const;
          const rowsPerOutput = weightRows(1, epilogue);
          // The last row count runs gemm where the tuning has it.
          for (const numRows of [3, 19]) {
            const { words, dims } = step(numRows);
            await checkBits(
              gpu,
              {
                ...cutContents({ dtype, rowsPerOutput, k }),
                ...quantizedRows(numRows, k),
                step: words,
                x: noise(numRows * k, 1),
                y: new Float32Array((numRows + 1) * N).fill(7),
              },
              dims,
              (b, w) => productCalls(product, { ...b, w } as never, tuning),
            );
          }
        }
      },
    );
  }
}

for (const rows of ["tokens", "draws"] as const) {
  for (const [name, tuning, k] of tuningsFor("int4g32")) {
    gpuTest(
      `normProductCalls() gives the same bits with a matrix in shards: ${rows}, ${name}`,
      async (gpu) => {
        const dtype = "int4g32";
        const product = { label: "test", rows, n: N, k, dtype, eps: 1e-5 } as const;
        for (const numRows of [7, 19]) {
          const { words, dims } = step(numRows);
          await checkBits(
            gpu,
            {
              ...cutContents({ dtype, rowsPerOutput: 1, k }),
              ...quantizedRows(numRows, k),
              step: words,
              x: noise(numRows * k, 1),
              norm: noise(k, 3),
              normed: new Float32Array(numRows * k),
              y: new Float32Array((numRows + 1) * N).fill(7),
            },
            dims,
            (b, w) => normProductCalls(product, { ...b, w } as never, tuning),
          );
        }
      },
    );
  }
}

for (const dtype of WEIGHT_DTYPES) {
  gpuTest(`embedTokensCalls() finds every token in its part: ${dtype}`, async (gpu) => {
    const k = 72;
    const { words, dims } = step(9);
    const contents = {
      ...cutContents({ dtype, rowsPerOutput: 1, k }),
      step: words,
      y: new Float32Array(10 * k).fill(7),
    };
    const calls = ({ step, y }: Record<string, DeviceBuffer>, w: WeightBuffers) =>
      embedTokensCalls({ V: N, E: k, dtype }, { step: step!, out: y!, w });
    await checkBits(gpu, contents, dims, calls);
    // In the other order, what a part writes beyond its tokens is not mended by the next.
    await checkBits(gpu, contents, dims, (b, w) => calls(b, w).reverse());
  });
}

Deno.test("shardProducts() places the outputs of each part in rows of the whole", () => {
  const buffer = (label: string) => ({ label, bytes: 4 });
  const product = { n: 5, dtype: "q4_k" } as const;
  const whole = shardProducts(product, buffer("w"));
  assertEquals(whole, [{
    product: { n: 5, dtype: "q4_k" as const, place: { first: 0, stride: 5 } },
    w: buffer("w"),
  }]);
  const cut = shardProducts(product, [
    { buffer: buffer("a"), begin: 0, end: 2 },
    { buffer: buffer("b"), begin: 2, end: 5, dtype: "q6_k" },
  ]);
  assertEquals(
    cut.map(({ product, w }) => [product.n, product.dtype, product.place.first, w.label]),
    [[2, "q4_k", 0, "a"], [3, "q6_k", 2, "b"]],
  );
  assert(cut.every(({ product }) => product.place.stride === 5));
});

import { assert, assertEquals } from "@std/assert";
import { embedTokensCalls } from "../../kernels/embed_tokens.ts";
import { type Epilogue, matmulCalls } from "../../kernels/matmul.ts";
import { PANEL_ROWS, panelExtent, panelWeights } from "../../kernels/panel_weights.ts";
import { HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";
import { weightFixture } from "../support/weight_fixture.ts";

const PLAIN = ["f32", "f16", "bf16"] as const;
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };
/** Runs of eight fours and of less; outputs that fill no panel, no tile, and several. */
const SHAPES = [{ n: 5, k: 8 }, { n: 70, k: 40 }, { n: 130, k: 264 }];
const ROWS = [1, 2, 4, 5, 8, 9];

function stepOf(numTokens: number): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numTokens;
  return words;
}

/** A test with subgroup operations and without; the former where the adapter has eight lanes of them. */
function tuningTest(name: string, run: (gpu: TestGpu, tuning: Tuning) => Promise<void>): void {
  for (const matmulSubgroups of [false, true]) {
    gpuTest(`${name}${matmulSubgroups ? ", with subgroups" : ""}`, async (gpu) => {
      if (matmulSubgroups && gpu.capabilities.subgroupMinSize < PANEL_ROWS) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn("skipped: the adapter grants no subgroups of eight");
      } else await run(gpu, { ...SOFTWARE_TUNING, matmulSubgroups });
    });
  }
}
type TestGpu = Parameters<Parameters<typeof gpuTest>[1]>[0];

Deno.test("panelExtent() leaves out what is quantized or has rows of no whole texels", () => {
  assertEquals(panelExtent("int8g32", 8, 64), undefined);
  assertEquals(panelExtent("f16", 8, 36), undefined);
  assertEquals(panelExtent("f16", 9, 40), { width: 40, height: 2 });
  assertEquals(panelExtent("f32", 8, 36), { width: 72, height: 1 });
});

Deno.test("panelWeights puts the same piece of eight rows side by side", () => {
  const w = new HostBuffer("w", 9 * 2 * 16);
  for (let i = 0; i < 18; i++) w.u32.fill(100 + i, 4 * i, 4 * i + 4);
  const out = new HostBuffer("out", 2 * 16 * 16, true);
  panelWeights.reference({ w, out }, { ROWS: 9, PIECES: 2 });
  const texels = Array.from({ length: 32 }, (_, i) => out.u32[4 * i]);
  assertEquals(texels.slice(0, 8), [100, 102, 104, 106, 108, 110, 112, 114]);
  assertEquals(texels.slice(8, 16), [101, 103, 105, 107, 109, 111, 113, 115]);
  assertEquals(texels.slice(16, 25), [116, 0, 0, 0, 0, 0, 0, 0, 117]);
});

for (const dtype of PLAIN) {
  tuningTest(`matmul agrees with the definition from an image: ${dtype}`, async (gpu, tuning) => {
    const epilogues: Epilogue[] = dtype === "f16" ? ["store", "add", "silu"] : ["silu"];
    for (
      const { n, k, epilogue } of SHAPES.flatMap((s) =>
        epilogues.map((epilogue) => ({ ...s, epilogue }))
      )
    ) {
      const rowsOfWeights = epilogue === "silu" ? 2 * n : n;
      const values = weightFixture(dtype, rowsOfWeights, k);
      const w = { values, dtype, rows: rowsOfWeights, columns: k };
      const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
      for (const rows of ROWS) {
        const x = new Float32Array((rows + 3) * k).fill(NaN);
        x.set(noise(rows * k, 1));
        const { actual, expected } = await runBoth(
          gpu,
          { step: stepOf(rows), x, w, y: new Float32Array((rows + 3) * n).fill(7) },
          (b) => matmulCalls(product, b as never, tuning),
          { ...NO_WORK, numTokens: rows },
          "y",
        );
        const error = worstError(actual.f32, expected.f32);
        assert(error < 2e-6 * k, `n ${n} k ${k} rows ${rows} ${epilogue}: error ${error}`);
        assert(actual.f32[rows * n] === 7, "wrote past the last row");
      }
    }
  });

  gpuTest(`embed_tokens gives the rows of an image: ${dtype}`, async (gpu) => {
    const [V, E] = [50, 296];
    const step = packStep([{ start: 0, count: 19 }, { start: 7, count: 1 }], POOL);
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: step.words,
        w: { values: weightFixture(dtype, V, E), dtype, rows: V, columns: E },
        out: new Float32Array(step.dims.numTokens * E),
      },
      (b) => embedTokensCalls({ V, E, dtype }, b as never),
      step.dims,
      "out",
    );
    assertEquals(actual.f32, expected.f32);
  });
}

gpuTest("a definition gives the same from an image as from a buffer", async (gpu) => {
  const [n, k] = [21, 24];
  const product = { label: "test", rows: "tokens", n, k, dtype: "f16" } as const;
  const values = weightFixture("f16", n, k);
  const run = async (w: Parameters<typeof runBoth>[1][string]) =>
    (await runBoth(
      gpu,
      { step: stepOf(3), x: noise(3 * k, 1), w, y: new Float32Array(3 * n) },
      (b) => matmulCalls(product, b as never, SOFTWARE_TUNING),
      { ...NO_WORK, numTokens: 3 },
      "y",
    )).expected.f32;
  assertEquals(await run({ values, dtype: "f16", rows: n, columns: k }), await run(values));
});

tuningTest("a row's sums from an image have the same bits in any batch", async (gpu, tuning) => {
  const [n, k] = [70, 264];
  const batch = noise(33 * k, 1, 3);
  for (const epilogue of ["store", "add", "silu"] as const) {
    const product = { label: "test", rows: "tokens", n, k, dtype: "f16", epilogue } as const;
    const w = {
      values: weightFixture("f16", 2 * n, k),
      dtype: "f16",
      rows: 2 * n,
      columns: k,
    } as const;
    const run = async (rows: number) => {
      const { actual } = await runBoth(
        gpu,
        { step: stepOf(rows), x: batch.subarray(0, rows * k), w, y: new Float32Array(rows * n) },
        (b) => matmulCalls(product, b as never, tuning),
        { ...NO_WORK, numTokens: rows },
        "y",
      );
      return [...actual.u32.subarray(0, n)];
    };
    const alone = await run(1);
    for (const rows of [2, 4, 5, 33]) assertEquals(await run(rows), alone);
  }
});

import { assert, assertEquals } from "@std/assert";
import { embedTokensCalls } from "../../kernels/weights/embed_tokens.ts";
import type { Epilogue } from "../../kernels/matmul/epilogue.ts";
import { matmulCalls } from "../../kernels/matmul/matmul.ts";
import { w8a8MatmulCalls } from "../../kernels/matmul/w8a8_matmul.ts";
import {
  PANEL_ROWS,
  panelExtent,
  panelWeights,
  unpanelled,
} from "../../kernels/weights/panel_weights.ts";
import { HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { isQuantized } from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { type Contents, gpuTest, noise, runBoth, runOn, worstError } from "../support/agreement.ts";
import { runW8a8 } from "../support/w8a8_fixture.ts";
import { packStep } from "../support/step_fixture.ts";
import { weightFixture } from "../support/weight_fixture.ts";

const PLAIN = ["f32", "f16", "bf16"] as const;
/** Codes of each width, groups of each size. */
const QUANTIZED = ["int8g32", "int4g128", "int8g128", "int4g32"] as const;
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };
/** Runs of eight fours and of less; outputs that fill no panel, no tile, and several. */
const SHAPES = [{ n: 5, k: 8 }, { n: 70, k: 40 }, { n: 130, k: 264 }];
/** Less than a group of 128; several groups, the last of which a row does not fill, of two pieces of scales. */
const QUANTIZED_SHAPES = [{ n: 5, k: 32 }, { n: 70, k: 288 }];
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

Deno.test("panelExtent() leaves out what has rows of no whole texels, and adds whole ones of scales", () => {
  assertEquals(panelExtent("int8g32", 8, 72), undefined);
  assertEquals(panelExtent("int4g32", 8, 48), undefined);
  assertEquals(panelExtent("int8g32", 8, 64), { width: 40, height: 1 });
  assertEquals(panelExtent("int4g32", 9, 288), { width: 88, height: 2 });
  assertEquals(panelExtent("int8g32", 8, 320), { width: 176, height: 1 });
  assertEquals(panelExtent("f16", 8, 36), undefined);
  assertEquals(panelExtent("f16", 9, 40), { width: 40, height: 2 });
  assertEquals(panelExtent("f32", 8, 36), { width: 72, height: 1 });
});

Deno.test("panelWeights puts the same piece of eight rows side by side", () => {
  const w = new HostBuffer("w", 9 * 2 * 16);
  for (let i = 0; i < 18; i++) w.u32.fill(100 + i, 4 * i, 4 * i + 4);
  const out = new HostBuffer("out", 2 * 16 * 16, true);
  panelWeights.reference({ w, out }, { ROWS: 9, PIECES: 2, SCALE_WORDS: 0 });
  const texels = Array.from({ length: 32 }, (_, i) => out.u32[4 * i]);
  assertEquals(texels.slice(0, 8), [100, 102, 104, 106, 108, 110, 112, 114]);
  assertEquals(texels.slice(8, 16), [101, 103, 105, 107, 109, 111, 113, 115]);
  assertEquals(texels.slice(16, 25), [116, 0, 0, 0, 0, 0, 0, 0, 117]);
});

Deno.test("panelWeights puts the scales of a row after its codes", () => {
  const shape = { ROWS: 2, PIECES: 1, SCALE_WORDS: 5 };
  const w = new HostBuffer("w", 2 * 16 + 2 * 20);
  w.u32.set(Array.from({ length: 18 }, (_, i) => 100 + i));
  const out = new HostBuffer("out", 8 * 3 * 16, true);
  panelWeights.reference({ w, out }, shape);
  const texel = (i: number) => [...out.u32.subarray(4 * i, 4 * i + 4)];
  assertEquals([texel(0), texel(1)], [[100, 101, 102, 103], [104, 105, 106, 107]]);
  assertEquals([texel(8), texel(16)], [[108, 109, 110, 111], [112, 0, 0, 0]]);
  assertEquals([texel(9), texel(17)], [[113, 114, 115, 116], [117, 0, 0, 0]]);
  assertEquals(unpanelled(out, shape), w.u8);
});

for (const dtype of [...PLAIN, ...QUANTIZED]) {
  const isPlain = !isQuantized(dtype);
  tuningTest(`matmul agrees with the definition from a texture: ${dtype}`, async (gpu, tuning) => {
    const epilogues: Epilogue[] = dtype === "f16" ? ["store", "add", "silu"] : ["silu"];
    for (
      const { n, k, epilogue } of (isPlain ? SHAPES : QUANTIZED_SHAPES).flatMap((s) =>
        epilogues.map((epilogue) => ({ ...s, epilogue }))
      )
    ) {
      const rowsOfWeights = epilogue === "silu" ? 2 * n : n;
      const values = weightFixture(dtype, rowsOfWeights, k);
      const w = { values, dtype, rows: rowsOfWeights, columns: k };
      const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
      for (const rows of isPlain ? ROWS : [1, 3, 9]) {
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

  gpuTest(`embed_tokens gives the rows of a texture: ${dtype}`, async (gpu) => {
    const [V, E] = [50, isPlain ? 296 : 288];
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

Deno.test("a definition gives the same from a texture as from a buffer", async () => {
  for (const dtype of ["f16", ...QUANTIZED] as const) {
    const [n, k] = [21, 288];
    const product = { label: "test", rows: "tokens", n, k, dtype } as const;
    const values = weightFixture(dtype, n, k);
    const run = async (w: Contents[string]) =>
      (await runOn(
        new ReferenceDevice(),
        { step: stepOf(3), x: noise(3 * k, 1), w, y: new Float32Array(3 * n) },
        (b) => matmulCalls(product, b as never, SOFTWARE_TUNING),
        { ...NO_WORK, numTokens: 3 },
        "y",
      )).f32;
    assertEquals(await run({ values, dtype, rows: n, columns: k }), await run(values));
  }
});

tuningTest(
  "w8a8_matmul gives the same bits from a texture as from a buffer",
  async (gpu, tuning) => {
    const w8a8 = { ...tuning, usesW8a8: true };
    for (const dtype of ["int8g32", "int4g128"] as const) {
      for (const rows of [1, 3, 9]) {
        const test = { n: 70, k: 288, rows, dtype, epilogue: "silu" } as const;
        const [fromBuffer, fromTexture] = [
          await runW8a8(gpu, w8a8MatmulCalls, w8a8, test),
          await runW8a8(gpu, w8a8MatmulCalls, w8a8, { ...test, isTexture: true }),
        ];
        assertEquals(fromTexture.actual.u32, fromBuffer.actual.u32, `${dtype}, ${rows} rows`);
        assertEquals(fromTexture.expected.u32, fromBuffer.expected.u32, `${dtype}, definition`);
      }
    }
  },
);

tuningTest("a row's sums from a texture have the same bits in any batch", async (gpu, tuning) => {
  const [n, k] = [70, 288];
  const batch = noise(33 * k, 1, 3);
  for (
    const [dtype, epilogue] of [
      ["f16", "store"],
      ["f16", "silu"],
      ["int8g32", "store"],
      ["int4g128", "store"],
    ] as const
  ) {
    const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
    const w = {
      values: weightFixture(dtype, 2 * n, k),
      dtype,
      rows: 2 * n,
      columns: k,
    };
    const run = async (rows: number) => {
      const { u32 } = await runOn(
        gpu,
        { step: stepOf(rows), x: batch.subarray(0, rows * k), w, y: new Float32Array(rows * n) },
        (b) => matmulCalls(product, b as never, tuning),
        { ...NO_WORK, numTokens: rows },
        "y",
      );
      return [...u32.subarray(0, n)];
    };
    const alone = await run(1);
    for (const rows of [2, 4, 5, 33]) assertEquals(await run(rows), alone);
  }
});

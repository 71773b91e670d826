import { assert, assertEquals } from "@std/assert";
import { copyBlocksCalls } from "../../kernels/kv/copy_blocks.ts";
import { embedTokensCalls } from "../../kernels/weights/embed_tokens.ts";
import { rmsNormCall } from "../../kernels/norm/rms_norm.ts";
import { numRows } from "../../kernels/rows.ts";
import { COPY_WORDS, HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { WEIGHT_DTYPES, weightFixture } from "../support/weight_fixture.ts";
import { packStep } from "../support/step_fixture.ts";

const CHUNKS = [{ start: 40, count: 1 }, { start: 0, count: 19 }, { start: 7, count: 1 }];
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };

for (const dtype of WEIGHT_DTYPES) {
  gpuTest(`embed_tokens gives the rows of a matrix, the last beyond it: ${dtype}`, async (gpu) => {
    const [V, E] = [50, 292];
    const step = packStep(CHUNKS, POOL);
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: step.words,
        w: weightFixture(dtype, V, E),
        out: new Float32Array((step.dims.numTokens + 1) * E).fill(7),
      },
      (b) => embedTokensCalls({ V, E, dtype }, b as never),
      step.dims,
      "out",
    );
    assertEquals(actual.f32, expected.f32);
    assert(actual.f32.at(-1) === 7, "wrote past the last row");
    assert(step.words[step.words[STEP.tokens]! + 1]! >= V, "no id beyond the matrix is tested");
  });
}

gpuTest("embed_tokens multiplies by a factor", async (gpu) => {
  const [V, E] = [50, 36];
  const step = packStep(CHUNKS, POOL);
  for (const dtype of ["f32", "bf16", "int8g32"] as const) {
    for (const scale of [Math.sqrt(E * 7), 12]) {
      const { actual, expected } = await runBoth(
        gpu,
        {
          step: step.words,
          w: weightFixture(dtype, V, E),
          out: new Float32Array((step.dims.numTokens + 1) * E).fill(7),
        },
        (b) => embedTokensCalls({ V, E, dtype, scale }, b as never),
        step.dims,
        "out",
      );
      // Where a weight is a product itself, a compiler may multiply in another order.
      actual.f32.forEach((value, i) => {
        const error = Math.abs(value - expected.f32[i]!);
        assert(error <= 2 ** -22 * Math.abs(expected.f32[i]!), `${dtype}, ${i}: ${error}`);
      });
      if (dtype !== "int8g32") assertEquals(actual.f32, expected.f32);
      assert(actual.f32.some((value) => Math.abs(value) > 8), "no factor");
    }
  }
});

for (const rows of ["tokens", "draws"] as const) {
  for (const LANES of [8, 64]) {
    gpuTest(`rms_norm agrees with the definition: ${rows}, ${LANES} lanes`, async (gpu) => {
      const E = 100;
      const step = packStep(CHUNKS, { ...POOL, sampled: true });
      const count = numRows(rows, step.dims);
      const { actual, expected } = await runBoth(
        gpu,
        {
          step: step.words,
          x: noise(step.dims.numTokens * E, 4, 30),
          weight: noise(E, 5),
          out: new Float32Array((count + 1) * E).fill(7),
        },
        (b) => [rmsNormCall({ rows, E, EPS: 1e-5, LANES }, b as never)],
        step.dims,
        "out",
      );
      const error = worstError(actual.f32, expected.f32);
      assert(error < 2e-5, `error ${error}`);
      assert(actual.f32[count * E] === 7, "wrote past the last row");
    });
  }
}

gpuTest("copy_blocks copies the listed blocks, whole and exactly, and no other", async (gpu) => {
  const [WORDS, numBlocks] = [260, 9];
  const words = new Uint32Array(HEADER_WORDS + 2 * COPY_WORDS);
  words[STEP.numCopies] = 2;
  words[STEP.copies] = HEADER_WORDS;
  words.set([4, 8, 0, 3], HEADER_WORDS);
  const kv = new Uint32Array(numBlocks * WORDS).map((_, i) => i * 2654435761);
  const dims = { ...NO_WORK, numCopies: [2] };
  const shape = { G: 1, D: 32, BLOCK_SIZE: 1, KV_DTYPE: "f16", STRIDE: WORDS } as const;
  const { actual, expected } = await runBoth(
    gpu,
    { step: words, kv },
    ({ step, kv }) => copyBlocksCalls([{ buffer: kv!, shape }], step!),
    dims,
    "kv",
  );
  assertEquals(actual.u32, expected.u32);
  const block = (id: number) => kv.subarray(id * WORDS, (id + 1) * WORDS);
  [0, 1, 2, 0, 4, 5, 6, 7, 4].forEach((source, id) =>
    assertEquals(actual.u32.slice(id * WORDS, (id + 1) * WORDS), block(source).slice())
  );
});

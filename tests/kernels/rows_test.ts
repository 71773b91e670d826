import { assert, assertEquals } from "@std/assert";
import { copyBlocksCall } from "../../kernels/copy_blocks.ts";
import { embedTokensCalls } from "../../kernels/embed_tokens.ts";
import { kvRow } from "../../kernels/kv_cache.ts";
import { rmsNormCall } from "../../kernels/rms_norm.ts";
import { ropeStoreKvCall } from "../../kernels/rope_store_kv.ts";
import { numRows } from "../../kernels/rows.ts";
import { COPY_WORDS, HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { ropeTable } from "../../models/rope_table.ts";
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

for (const rows of ["tokens", "samples"] as const) {
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

for (const KV_DTYPE of ["f16", "f32"] as const) {
  gpuTest(`rope_store_kv rotates and scatters to its slots only: ${KV_DTYPE}`, async (gpu) => {
    const shape = { H: 3, G: 1, D: 32, BLOCK_SIZE: 8, KV_DTYPE };
    const step = packStep(CHUNKS, POOL);
    const rows = step.dims.numTokens;
    const elements = POOL.numBlocks * 2 * shape.G * shape.BLOCK_SIZE * shape.D;
    const contents = {
      step: step.words,
      rope: ropeTable({ headDim: 32, theta: 1e4, scaling: undefined, maxPositions: 64 }),
      qkv: noise(rows * (shape.H + 2 * shape.G) * shape.D, 6),
      kv: KV_DTYPE === "f16" ? new Uint16Array(elements).fill(0x7e00) : new Float32Array(elements),
    };
    const calls = (b: object) => [ropeStoreKvCall(shape, b as never)];
    const q = await runBoth(gpu, contents, calls, step.dims, "qkv");
    const error = worstError(q.actual.f32, q.expected.f32);
    assert(error < 1e-6, `error ${error}`);
    const kv = await runBoth(gpu, contents, calls, step.dims, "kv");
    if (KV_DTYPE === "f32") assert(worstError(kv.actual.f32, kv.expected.f32) < 1e-6);
    else {
      // Half values next to each other have neighbouring bits; one step covers a rounding tie.
      kv.actual.u16.forEach((bits, i) => assert(Math.abs(bits - kv.expected.u16[i]!) <= 1));
    }
    const slot = step.words[step.words[STEP.slots]!]!;
    const before = KV_DTYPE === "f16" ? 0x7e00 : 0;
    const view = KV_DTYPE === "f16" ? kv.actual.u16 : kv.actual.u32;
    assert(view[kvRow(slot, 0, 0, shape)] !== before, "the first row's K was not written");
    const written = rows * 2 * shape.G * shape.D;
    assertEquals(view.filter((bits) => bits !== before).length, written);
  });
}

gpuTest("copy_blocks copies the listed blocks, whole and exactly, and no other", async (gpu) => {
  const [WORDS, numBlocks] = [260, 9];
  const words = new Uint32Array(HEADER_WORDS + 2 * COPY_WORDS);
  words[STEP.numCopies] = 2;
  words[STEP.copies] = HEADER_WORDS;
  words.set([4, 8, 0, 3], HEADER_WORDS);
  const kv = new Uint32Array(numBlocks * WORDS).map((_, i) => i * 2654435761);
  const dims = { ...NO_WORK, numCopies: 2 };
  const { actual, expected } = await runBoth(
    gpu,
    { step: words, kv },
    (b) => [copyBlocksCall({ WORDS }, b as never)],
    dims,
    "kv",
  );
  assertEquals(actual.u32, expected.u32);
  const block = (id: number) => kv.subarray(id * WORDS, (id + 1) * WORDS);
  [0, 1, 2, 0, 4, 5, 6, 7, 4].forEach((source, id) =>
    assertEquals(actual.u32.slice(id * WORDS, (id + 1) * WORDS), block(source).slice())
  );
});

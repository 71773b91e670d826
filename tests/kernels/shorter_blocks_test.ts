import { assert } from "@std/assert";
import { gemmCalls } from "../../kernels/matmul/gemm.ts";
import { matmulCalls } from "../../kernels/matmul/matmul.ts";
import { HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { GPU_TUNING, SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { quantizeBlocks } from "../../src/weights/quantize_blocks.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { poisoned } from "../support/product_fixture.ts";

const N = 21;
/** Columns of a block that is less than one of 256, and of one after a whole one. */
const COLUMNS = [96, 320];

gpuTest("products take rows of q4_k whose last block is shorter", async (gpu) => {
  for (const k of COLUMNS) {
    const weights = noise(N * k, 5);
    const { codes, scales } = quantizeBlocks(weights, k);
    const words = Uint32Array.from([...codes, ...scales]);
    const dtype = "q4_k";
    const product = { label: "test", rows: "tokens", n: N, k, dtype } as const;
    const ways = [
      [SOFTWARE_TUNING, matmulCalls, 3],
      [GPU_TUNING, matmulCalls, 3],
      [GPU_TUNING, gemmCalls, 17],
    ] as const;
    for (const [tuning, calls, rows] of ways) {
      const step = new Uint32Array(HEADER_WORDS);
      step[STEP.numTokens] = rows;
      const x = poisoned(rows, k, 1);
      const w = tuning.usesWeightTextures
        ? { values: words, dtype, rows: N, columns: k } as const
        : words;
      const { actual, expected } = await runBoth(
        gpu,
        { step, x, w, y: new Float32Array(rows * N) },
        (b) => calls(product, b as never, tuning),
        { ...NO_WORK, numTokens: rows },
        "y",
      );
      assert(worstError(actual.f32, expected.f32) < 2e-6 * k, `${k} columns, ${rows} rows`);
      // Of the weights before they were quantized, nearly.
      const exact = Float32Array.from({ length: rows * N }, (_, i) => {
        const [row, n] = [Math.floor(i / N), i % N];
        let sum = 0;
        for (let j = 0; j < k; j++) sum += x[row * k + j]! * weights[n * k + j]!;
        return sum;
      });
      assert(worstError(expected.f32, exact) < 0.1 * Math.sqrt(k), `${k} columns`);
    }
  }
});

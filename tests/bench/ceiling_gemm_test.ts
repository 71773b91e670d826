import { assert, assertThrows } from "@std/assert";
import { GEMM_CANDIDATES, gemmCall } from "../../bench/ceiling_gemm.ts";
import { fillRandom } from "../../bench/random_weights.ts";
import { kernelCall } from "../../src/device/kernel.ts";
import { assertEquals } from "@std/assert";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";

const SHAPE = { M: 128, N: 256, K: 48 };

for (const tile of GEMM_CANDIDATES) {
  gpuTest(`gemm agrees with the definition: ${JSON.stringify(tile)}`, async (gpu) => {
    const { M, N, K } = SHAPE;
    const { actual, expected } = await runBoth(
      gpu,
      { a: noise(M * K, 1), b: noise(K * N, 2), c: noise(M * N, 3) },
      (buffers) => [gemmCall(SHAPE, tile, buffers)],
      undefined,
      "c",
    );
    assert(worstError(actual.f32, expected.f32) < 1e-4);
  });
}

Deno.test("gemmCall() refuses a tile that does not divide the shape", () => {
  const [tile] = GEMM_CANDIDATES;
  assertThrows(() => gemmCall({ ...SHAPE, M: 126 }, tile!, {}), RangeError, "Cannot tile");
});

gpuTest(
  "fill_random agrees with the definition, over rows of workgroups and odd ends",
  async (gpu) => {
    const [WORDS, GROUPS] = [1000, 3];
    const { actual, expected } = await runBoth(
      gpu,
      { out: new Uint32Array(WORDS + 5).fill(7) },
      (buffers) => [
        kernelCall(fillRandom, {
          constants: { WORDS, GROUPS, SEED: 9 },
          buffers,
          workgroups: () => [GROUPS, 6, 1] as const,
        }),
      ],
      undefined,
      "out",
    );
    assertEquals(actual.u32, expected.u32);
    assertEquals([...actual.u32.subarray(WORDS)], Array(5).fill(7));
    const values = Float32Array.from(new Float16Array(actual.u32.buffer, 0, 2 * WORDS));
    assert(values.every((value) => value >= -0.0625 && value < 0.0625));
    assert(new Set(values).size > 1000);
  },
);

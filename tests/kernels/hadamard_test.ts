import { assert, assertEquals } from "@std/assert";
import { hadamardHeadsCall } from "../../kernels/attention/hadamard_heads.ts";
import { hadamard, hadamardBlock } from "../../kernels/kv/hadamard.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";

/** Heads that are a power of two, that have a factor of one, and of more than a lane's elements. */
const HEAD_DIMS = [8, 16, 80, 96, 112, 128, 256];

/** Element (i, j) of the matrix is +-1 / sqrt(block), by the parity of the bits that i and j share. */
function byMatrix(head: Float32Array, block: number): number[] {
  const parity = (bits: number) => bits.toString(2).replaceAll("0", "").length % 2;
  return [...head].map((_, d) => {
    const first = d - d % block;
    let sum = 0;
    for (let i = 0; i < block; i++) {
      sum += head[first + i]! * (parity(i & d % block) === 1 ? -1 : 1);
    }
    return sum / Math.sqrt(block);
  });
}

Deno.test("hadamard() is the matrix of Walsh and Hadamard, block by block, and its own inverse", () => {
  assertEquals(HEAD_DIMS.map(hadamardBlock), [8, 16, 16, 32, 16, 128, 128]);
  for (const D of HEAD_DIMS) {
    const head = noise(D, D);
    const transformed = head.slice();
    hadamard(transformed);
    const expected = Float32Array.from(byMatrix(head, hadamardBlock(D)));
    assert(worstError(transformed, expected) < 1e-6, `${D} elements`);
    hadamard(transformed);
    assert(worstError(transformed, head) < 1e-6, `${D} elements, twice`);
  }
});

Deno.test("hadamard() spreads an outlier over its block", () => {
  const head = new Float32Array(64);
  head[5] = -8;
  hadamard(head);
  assert(head.every((value) => Math.abs(value) === 1));
});

gpuTest("hadamard_heads transforms the rows of the step and no others", async (gpu) => {
  const step = packStep([{ start: 40, count: 1 }, { start: 0, count: 19 }], {
    blockSize: 8,
    numBlocks: 31,
    queryTile: 8,
  });
  for (const D of HEAD_DIMS) {
    const H = D === 96 ? 70 : 3;
    const words = step.dims.numTokens * H * D;
    const out = noise(words + H * D, 3, 2);
    const { actual, expected } = await runBoth(
      gpu,
      { step: step.words, out },
      ({ step, out }) => [hadamardHeadsCall({ H, D }, { step: step!, out: out! })],
      step.dims,
      "out",
    );
    assert(worstError(actual.f32, expected.f32) < 2e-6, `${D} elements`);
    assertEquals(actual.f32.subarray(words), out.subarray(words));
    assert(worstError(actual.f32, out, 0, D) > 0.01, "nothing was transformed");
  }
});

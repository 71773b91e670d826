/** Norms after a block and over parts of rows; `rows_test.ts` has those before a block. */
import { assert, assertAlmostEquals } from "@std/assert";
import { normAddCall } from "../../kernels/norm/norm_add.ts";
import { normPartsCall } from "../../kernels/norm/norm_parts.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest, noise, runBoth, runOn } from "../support/agreement.ts";
import { dimsOf, header, poisoned, POISONED_ROWS } from "../support/product_fixture.ts";

/** One lane's four, fewer fours than lanes, as many, and more by an edge. */
const WIDTHS = [4, 100, 256, 516];
const EPS = 1e-5;

for (const lanes of [8, 64]) {
  gpuTest(`norm_add agrees with the definition: ${lanes} lanes`, async (gpu) => {
    for (const E of WIDTHS) {
      for (const [rows, scale] of [[1, 1], [7, 1], [3, 0.22], [2, 3]] as const) {
        const before = noise((rows + POISONED_ROWS) * E, 8);
        const { actual, expected } = await runBoth(
          gpu,
          { step: header(rows), x: poisoned(rows, E, 4, 30), weight: noise(E, 5), y: before },
          (b) => [normAddCall({ E, eps: EPS, scale, lanes }, b as never)],
          dimsOf(rows),
          "y",
        );
        for (let i = 0; i < rows * E; i++) {
          const added = Math.abs(expected.f32[i]! - before[i]!);
          // The bound of what is added, and a rounding of the sum on either side.
          const bound = 1e-5 * added + 2 ** -23 * (Math.abs(before[i]!) + added);
          const error = Math.abs(actual.f32[i]! - expected.f32[i]!);
          assert(error <= bound, `E ${E}, ${rows} rows, element ${i}: ${error}`);
        }
        const after = actual.f32.subarray(rows * E);
        assert(
          after.every((value, i) => value === before[rows * E + i]),
          "wrote past the last row",
        );
      }
    }
  });

  gpuTest(`norm_parts agrees with the definition: ${lanes} lanes`, async (gpu) => {
    for (const [first, second, stride] of [[4, 4, 12], [100, 36, 172], [516, 0, 520]] as const) {
      for (const rows of [1, 5]) {
        const before = poisoned(rows, stride, 4, 30);
        const lengths = second === 0 ? [first] as const : [first, second] as const;
        const { actual, expected } = await runBoth(
          gpu,
          { step: header(rows), weight: poisoned(first + second, 1, 5), rows: before },
          (b) => [normPartsCall({ lengths, stride, eps: EPS, lanes }, b as never)],
          dimsOf(rows),
          "rows",
        );
        for (let i = 0; i < rows * stride; i++) {
          const [a, b] = [actual.f32[i]!, expected.f32[i]!];
          const isPart = i % stride < first + second;
          assert(
            Math.abs(a - b) <= (isPart ? 1e-5 * Math.abs(b) : 0),
            `element ${i}: ${a}, not ${b}`,
          );
          assert(isPart !== (b === before[i]), `element ${i} of ${first}, ${second}, ${stride}`);
        }
        assert(actual.f32.subarray(rows * stride, -4).every(Number.isNaN), "wrote past the end");
      }
    }
  });
}

Deno.test("norm_add and norm_parts are what their formulas say", async () => {
  const device = new ReferenceDevice();
  // The mean of squares of (1, 1, 5, 3) is 9, of (2, 2, 2, 2) 4.
  const x = Float32Array.of(1, 1, 5, 3);
  const weight = Float32Array.of(1, 2, 3, 0.5);
  const added = await runOn(
    device,
    { step: header(1), x, weight, y: Float32Array.of(10, 20, 30, 40) },
    (b) => [normAddCall({ E: 4, eps: 0, scale: 3, lanes: 8 }, b as never)],
    dimsOf(1),
    "y",
  );
  [11, 22, 45, 41.5].forEach((value, i) => assertAlmostEquals(added.f32[i]!, value, 1e-5));
  const parts = await runOn(
    device,
    {
      step: header(1),
      weight: Float32Array.of(...weight, 4, 3, 2, 1),
      rows: Float32Array.of(...x, 2, 2, 2, 2, 7, 7, 7, 7),
    },
    (b) => [normPartsCall({ lengths: [4, 4], stride: 12, eps: 0, lanes: 8 }, b as never)],
    dimsOf(1),
    "rows",
  );
  const expected = [1 / 3, 2 / 3, 5, 0.5, 4, 3, 2, 1, 7, 7, 7, 7];
  expected.forEach((value, i) => assertAlmostEquals(parts.f32[i]!, value, 1e-6));
});

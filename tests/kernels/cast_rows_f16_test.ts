import { assert, assertEquals } from "@std/assert";
import { castRowsF16Call, rowScale } from "../../kernels/matmul/cast_rows_f16.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";
import { dimsOf, header } from "../support/product_fixture.ts";

const K = 260;
/** A row each: what overflows f16, what it would lose, one number, none, and the ends of f32. */
const ROWS = [
  noise(K, 1, 1e6),
  noise(K, 2, 1e-9),
  noise(K, 3),
  new Float32Array(K).fill(0, 0, K - 1).fill(-70_000, K - 1),
  new Float32Array(K),
  noise(K, 4, 3e38),
  noise(K, 5, 1e-38),
];

Deno.test("rowScale() brings the largest magnitude of a row to [2^14, 2^15), by a power of two", () => {
  for (const row of ROWS.slice(0, 4)) {
    const peak = Math.max(...row.map(Math.abs)) / rowScale(row);
    assert(peak >= 2 ** 14 && peak < 2 ** 15, `${peak}`);
    assert(Number.isInteger(Math.log2(rowScale(row))));
  }
  assertEquals(rowScale(Float32Array.of(1, -2, 1.5)), 2 ** -13);
  assertEquals(rowScale(new Float32Array(4)), rowScale(Float32Array.of(1e-38)));
});

gpuTest("cast_rows_f16 agrees with the definition, and with what it halves", async (gpu) => {
  if (!gpu.capabilities.hasF16) {
    // deno-lint-ignore no-console -- a skip must say why
    return console.warn("skipped: this adapter does not grant shader-f16");
  }
  const x = Float32Array.from(ROWS.flatMap((row) => [...row]));
  // The last row is not of the step.
  const rows = ROWS.length - 1;
  const contents = {
    step: header(rows),
    x,
    halves: new Uint16Array(x.length).fill(0x7e00),
    scales: new Float32Array(ROWS.length).fill(7),
  };
  for (const lanes of [8, 64]) {
    const call = { label: "test", rows: "tokens", k: K, lanes, includes: () => true } as const;
    const run = (output: string) =>
      runBoth(gpu, contents, (b) => [castRowsF16Call(call, b as never)], dimsOf(rows), output);
    const scales = await run("scales");
    assertEquals(scales.actual.f32, scales.expected.f32);
    assertEquals(scales.actual.f32[rows], 7);
    const { actual, expected } = await run("halves");
    for (const { u8 } of [actual, expected]) {
      const halves = new Float16Array(u8.buffer);
      assert(halves.subarray(rows * K).every(Number.isNaN), "wrote past the last row");
      for (let r = 0; r < rows; r++) {
        const peak = ROWS[r]!.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        ROWS[r]!.forEach((value, k) => {
          const error = Math.abs(halves[r * K + k]! * scales.actual.f32[r]! - value);
          const bound = 2 ** -10 * Math.abs(value) + 2 ** -28 * peak;
          assert(error <= bound, `row ${r}, input ${k}: ${value} is off by ${error}`);
        });
      }
    }
  }
});

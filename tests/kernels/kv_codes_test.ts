import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { e4m3ToF32 } from "../../kernels/kv/e4m3.ts";
import { KV_DTYPES } from "../../kernels/kv/dtypes.ts";
import { decodeVector, encodeVector } from "../../kernels/kv/kv_codes.ts";
import type { QuantizedKvCacheDtype } from "../../src/core/kv_layout.ts";
import { noise } from "../support/agreement.ts";

const DTYPES: readonly QuantizedKvCacheDtype[] = ["int8", "fp8", "int4"];
/** Those whose largest magnitude keeps its value. */
const EXACT_PEAKS = ["int8", "fp8"] as const;

/** A vector as the pool gives it back, with its codes and scale. */
function roundTrip(values: Float32Array, dtype: QuantizedKvCacheDtype) {
  const codes = new Uint8Array(values.length / (dtype === "int4" ? 2 : 1)).fill(0xff);
  const scale = encodeVector(values, dtype, codes);
  const decoded = new Float32Array(values.length);
  decodeVector(codes, dtype, scale, decoded);
  return { codes, scale, decoded };
}

for (const dtype of EXACT_PEAKS) {
  Deno.test(`encodeVector() keeps each element within half a step, and the largest: ${dtype}`, () => {
    const vector = fc.float32Array({
      minLength: 32,
      maxLength: 32,
      min: -100,
      max: 100,
      noNaN: true,
    });
    fc.assert(
      fc.property(vector, (values) => {
        const peak = Math.max(...values.map(Math.abs));
        const { decoded } = roundTrip(values, dtype);
        values.forEach((value, d) => {
          const step = dtype === "fp8"
            ? Math.max(Math.abs(value) / 8, peak / KV_DTYPES.fp8.code.max / 512)
            : peak / KV_DTYPES[dtype].code.max;
          const bound = peak < 1e-29 ? peak : step * (0.5 + 1e-4);
          assert(Math.abs(decoded[d]! - value) <= bound, `${value} became ${decoded[d]}`);
          if (Math.abs(value) === peak && peak > 1e-29) {
            assert(Math.abs(decoded[d]! / value - 1) < 1e-6);
          }
        });
      }),
      { seed: 4, numRuns: 500 },
    );
  });
}

for (const dtype of DTYPES) {
  Deno.test(`encodeVector() stores zeros and the smallest vectors without NaN: ${dtype}`, () => {
    assertEquals(roundTrip(new Float32Array(16), dtype).decoded, new Float32Array(16));
    const { decoded } = roundTrip(new Float32Array(16).fill(1e-40), dtype);
    assert(decoded.every((value) => value === 0));
  });
}

Deno.test("decodeVector() gives every code of fp8 its value, times the scale", () => {
  const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
  const values = new Float32Array(256);
  decodeVector(codes, "fp8", 0.5, values);
  values.forEach((value, code) => assertEquals(value, 0.5 * e4m3ToF32(code)));
});

/** The sixteen values of int4's codes at a scale of 1, least first, and the nibble of each. */
const LEVELS = Array.from({ length: 16 }, (_, i) => i - 7.5).map((c) => c + c ** 3 / 128);
const NIBBLES = Array.from({ length: 16 }, (_, i) => (i - 8) & 15);

Deno.test("int4 keeps eight elements in a word, the first four in the low halves of its bytes", () => {
  const codes = Uint8Array.of(0x80, 0x91, 0xa2, 0xb3);
  const values = new Float32Array(8);
  decodeVector(codes, "int4", 2, values);
  const levelOf = (nibble: number) => 2 * LEVELS[NIBBLES.indexOf(nibble)]!;
  assertEquals(
    [...values],
    [0, 1, 2, 3, 8, 9, 10, 11].map((nibble) => Math.fround(levelOf(nibble))),
  );
});

Deno.test("int4 gives each element the nearest level of a scale that fits them", () => {
  const random = noise(32, 5, 3);
  const { codes, scale, decoded } = roundTrip(random, "int4");
  let [products, squares] = [0, 0];
  random.forEach((value, d) => {
    const nibble = codes[(d >> 3) * 4 + d % 4]! >> (d & 4) & 15;
    const level = LEVELS[NIBBLES.indexOf(nibble)]!;
    assert(Math.abs(decoded[d]! - level * scale) < 1e-5);
    // Codes come of the scale fitted before the last, which is close to it.
    const nearest = Math.min(...LEVELS.map((other) => Math.abs(other * scale - value)));
    assert(Math.abs(decoded[d]! - value) <= nearest + 0.1 * scale, `${value} is ${decoded[d]}`);
    products += value * level;
    squares += level * level;
  });
  assert(Math.abs(scale / (products / squares) - 1) < 1e-5, "the scale is not the fitted one");
});

Deno.test("int4's uneven levels leave a third less squared error than even ones", () => {
  const errors = { uneven: 0, even: 0 };
  for (let seed = 1; seed <= 40; seed++) {
    // Normally distributed (Box 1958).
    const angles = noise(64, seed + 1000);
    const values = noise(64, seed).map((x, d) =>
      Math.sqrt(-2 * Math.log(Math.abs(x))) * Math.cos(Math.PI * angles[d]!)
    );
    const { decoded } = roundTrip(values, "int4");
    const step = Math.max(...values.map(Math.abs)) / 7;
    values.forEach((value, d) => {
      errors.uneven += (decoded[d]! - value) ** 2;
      errors.even += (Math.round(value / step) * step - value) ** 2;
    });
  }
  assert(errors.uneven < 0.67 * errors.even, JSON.stringify(errors));
});

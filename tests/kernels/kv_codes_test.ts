import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { e4m3ToF32 } from "../../kernels/kv/e4m3.ts";
import { KV_DTYPES } from "../../kernels/kv/dtypes.ts";
import { decodeVector, encodeVector } from "../../kernels/kv/kv_codes.ts";
import type { QuantizedKvCacheDtype } from "../../src/core/kv_layout.ts";

const DTYPES: readonly QuantizedKvCacheDtype[] = ["int8", "fp8", "int4"];

/** A vector as the pool gives it back, with its codes and scale. */
function roundTrip(values: Float32Array, dtype: QuantizedKvCacheDtype) {
  const codes = new Uint8Array(values.length / (dtype === "int4" ? 2 : 1)).fill(0xff);
  const scale = encodeVector(values, dtype, codes);
  const decoded = new Float32Array(values.length);
  decodeVector(codes, dtype, scale, decoded);
  return { codes, scale, decoded };
}

for (const dtype of DTYPES) {
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

Deno.test("int4 keeps eight elements in a word, the first four in the low halves of its bytes", () => {
  const { codes, scale } = roundTrip(Float32Array.of(1, 2, 3, 4, -1, -2, -3, 7), "int4");
  assertEquals([...codes], [0xf1, 0xe2, 0xd3, 0x74]);
  assertEquals(scale, 1);
});

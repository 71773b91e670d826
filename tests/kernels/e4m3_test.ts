import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { E4M3_MAX, e4m3ToF32, f32ToE4m3 } from "../../kernels/kv/e4m3.ts";
import { roundToEven } from "../../kernels/rounding.ts";

const CODES = Array.from({ length: 256 }, (_, code) => code);
const isNanCode = (code: number) => (code & 0x7f) === 0x7f;
const FINITE = CODES.filter((code) => !isNanCode(code));

Deno.test("e4m3ToF32() gives the values of the format", () => {
  const values: [code: number, value: number][] = [
    [0x00, 0],
    [0x01, 2 ** -9],
    [0x07, 7 * 2 ** -9],
    [0x08, 2 ** -6],
    [0x38, 1],
    [0x39, 1.125],
    [0x7e, 448],
    [0xb8, -1],
    [0xfe, -448],
  ];
  for (const [code, value] of values) assertEquals(e4m3ToF32(code), value, `code ${code}`);
  assertEquals([e4m3ToF32(0x7f), e4m3ToF32(0xff)], [NaN, NaN]);
  assert(Object.is(e4m3ToF32(0x80), -0));
});

Deno.test("f32ToE4m3() is the inverse of e4m3ToF32() over all 256 codes", () => {
  for (const code of FINITE) assertEquals(f32ToE4m3(e4m3ToF32(code)), code);
  assertEquals(f32ToE4m3(NaN), 0x7f);
});

Deno.test("f32ToE4m3() rounds ties to the even code, and others to the nearest", () => {
  for (const code of FINITE.filter((code) => code < 0x7e)) {
    const [low, high] = [e4m3ToF32(code), e4m3ToF32(code + 1)];
    const middle = (low + high) / 2;
    assertEquals(f32ToE4m3(middle), code % 2 === 0 ? code : code + 1, `between ${low} and ${high}`);
    assertEquals(f32ToE4m3(middle * (1 - 2 ** -20)), code);
    assertEquals(f32ToE4m3(middle * (1 + 2 ** -20)), code + 1);
    assertEquals(f32ToE4m3(-middle), f32ToE4m3(middle) | 0x80);
  }
});

Deno.test("f32ToE4m3() saturates, and no finite value nor infinity becomes NaN", () => {
  for (const value of [449, 464, 465, 480, 1e9, 3.4e38, Infinity]) {
    assertEquals([f32ToE4m3(value), f32ToE4m3(-value)], [0x7e, 0xfe]);
  }
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (value) => {
      const code = f32ToE4m3(value);
      assert(!isNanCode(code));
      const size = Math.min(Math.abs(value), E4M3_MAX);
      const error = Math.abs(Math.abs(e4m3ToF32(code)) - size);
      assert(FINITE.every((other) => Math.abs(Math.abs(e4m3ToF32(other)) - size) >= error));
    }),
    { seed: 8, numRuns: 2000 },
  );
});

Deno.test("roundToEven() rounds to nearest, ties to even", () => {
  assertEquals([0, 0.5, 0.51, 1.5, 2.5, 2.49, 3].map(roundToEven), [0, 0, 1, 2, 2, 2, 3]);
});

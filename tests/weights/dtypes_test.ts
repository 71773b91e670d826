import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { bf16ToF32, decodeToF32, f16ToF32, f32ToF16 } from "../../src/weights/dtypes.ts";

const ALL_16_BIT = Uint16Array.from({ length: 0x10000 }, (_, i) => i);

function sameNumbers(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert(Object.is(actual[i], expected[i]), `at ${i}: ${actual[i]} is not ${expected[i]}`);
  }
}

Deno.test("f16ToF32() equals Float16Array on every bit pattern", () => {
  const actual = new Float32Array(0x10000);
  f16ToF32(ALL_16_BIT, actual);
  sameNumbers(actual, Array.from(new Float16Array(ALL_16_BIT.buffer)));
});

Deno.test("bf16ToF32() equals the upper half of an f32 on every bit pattern", () => {
  const actual = new Float32Array(0x10000);
  bf16ToF32(ALL_16_BIT, actual);
  const view = new DataView(new ArrayBuffer(4));
  const expected = Array.from(ALL_16_BIT, (bits) => {
    view.setUint16(0, bits);
    return view.getFloat32(0);
  });
  sameNumbers(actual, expected);
  assertEquals(actual[0x3f80], 1);
  assertEquals(actual[0xff80], -Infinity);
});

function sameRounding(source: Float32Array): void {
  const actual = new Uint16Array(source.length);
  f32ToF16(source, actual);
  sameNumbers(new Float16Array(actual.buffer), Array.from(Float16Array.from(source)));
}

Deno.test("f32ToF16() returns every f16 unchanged", () => {
  const widened = new Float32Array(0x10000);
  f16ToF32(ALL_16_BIT, widened);
  sameRounding(widened);
});

Deno.test("f32ToF16() rounds halves to even, between all neighbouring f16", () => {
  const points: number[] = [];
  const half = new Float16Array(ALL_16_BIT.buffer);
  for (let i = 0; i < 0x7bff; i++) {
    const middle = (half[i]! + half[i + 1]!) / 2;
    points.push(middle, -middle, middle * (1 + 2 ** -23), middle * (1 - 2 ** -23));
  }
  points.push(65519, 65520, 65536, 3e38, 2 ** -25, 2 ** -24 * 0.50001, 2 ** -26);
  sameRounding(Float32Array.from(points));
});

Deno.test("f32ToF16() equals Float16Array on random f32", () => {
  fc.assert(
    fc.property(fc.float32Array({ minLength: 1, maxLength: 64 }), sameRounding),
    { seed: 1, numRuns: 500 },
  );
});

Deno.test("decodeToF32() reads bytes at any alignment", () => {
  const bytes = Uint8Array.of(9, 0x00, 0x3c, 0x00, 0xc0).subarray(1);
  const into = new Float32Array(2);
  decodeToF32("F16", bytes, into);
  assertEquals([...into], [1, -2]);
  decodeToF32("BF16", bytes, into);
  assertEquals([...into], [0.0078125, -2]);
  const one = new Float32Array(1);
  decodeToF32("F32", Uint8Array.of(9, 0, 0, 0x80, 0x3f).subarray(1), one);
  assertEquals(one[0], 1);
});

Deno.test("decodeToF32() refuses lengths that disagree", () => {
  assertThrows(() => decodeToF32("F16", new Uint8Array(6), new Float32Array(2)), RangeError);
  assertThrows(() => f16ToF32(new Uint16Array(2), new Float32Array(3)), RangeError);
});

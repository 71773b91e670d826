import { assert, assertEquals, assertThrows } from "@std/assert";
import { bf16ToF32, decodeToF32, f16ToF32 } from "../../src/weights/dtypes.ts";

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

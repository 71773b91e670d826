import { assertEquals } from "@std/assert";
import { bitsToF32, f16BitsToF32, f32ToBits, f32ToF16Bits } from "../../src/base/float_bits.ts";

Deno.test("f16BitsToF32 and f32ToF16Bits are inverse on every number", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = f16BitsToF32(bits);
    if (Number.isNaN(value)) continue;
    assertEquals(f32ToF16Bits(value), bits);
  }
});

Deno.test("f32ToF16Bits rounds to nearest even and overflows to infinity", () => {
  assertEquals(f32ToF16Bits(1 + 2 ** -11), 0x3c00);
  assertEquals(f32ToF16Bits(1 + 3 * 2 ** -11), 0x3c02);
  assertEquals(f32ToF16Bits(65520), 0x7c00);
});

Deno.test("f32ToBits and bitsToF32 see the same number", () => {
  for (const value of [0, -0, 1, -2.5, Math.fround(3.4e38), Infinity]) {
    assertEquals(bitsToF32(f32ToBits(value)), value);
  }
  assertEquals(f32ToBits(1), 0x3f800000);
});

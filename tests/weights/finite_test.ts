import { assert, assertEquals } from "@std/assert";
import { decodeToF32, type TensorDtype } from "../../src/weights/dtypes.ts";
import { elementAt, findNonFinite } from "../../src/weights/finite.ts";

/** What a loop over the elements finds. */
function byDefinition(dtype: TensorDtype, bytes: Uint8Array): number {
  const values = new Float32Array(bytes.byteLength / (dtype === "F32" ? 4 : 2));
  decodeToF32(dtype, bytes, values);
  return values.findIndex((value) => !Number.isFinite(value));
}

Deno.test("findNonFinite() judges every f16 and bf16 by its bits, in either half of a word", () => {
  for (const dtype of ["F16", "BF16"] as const) {
    let numFound = 0;
    for (let bits = 0; bits < 0x10000; bits++) {
      for (const at of [0, 1, 2]) {
        const halves = Uint16Array.of(0x7bff & bits, 0x3c00, 0xbc00);
        halves[0] = 0x1234;
        halves[at] = bits;
        const bytes = new Uint8Array(halves.buffer);
        const found = findNonFinite(dtype, bytes);
        if (found !== byDefinition(dtype, bytes)) {
          throw new Error(`${dtype} 0x${bits.toString(16)} at ${at}: ${found}`);
        }
        if (found >= 0) numFound++;
      }
    }
    // Two signs, and all mantissas of the highest exponent.
    assertEquals(numFound, 3 * 2 * (dtype === "F16" ? 1024 : 128));
  }
});

Deno.test("findNonFinite() judges f32 at the edges of its exponents", () => {
  const finite = [0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x7f7fffff].flatMap((bits) => [
    bits,
    (bits | 0x80000000) >>> 0,
  ]);
  assertEquals(findNonFinite("F32", new Uint8Array(Uint32Array.from(finite).buffer)), -1);
  for (const bits of [0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff]) {
    for (const sign of [0, 0x80000000]) {
      const words = Uint32Array.from([...finite, (bits | sign) >>> 0, 0x7f800000]);
      assertEquals(findNonFinite("F32", new Uint8Array(words.buffer)), finite.length);
    }
  }
});

Deno.test("findNonFinite() finds the first wherever it lies, and the rest of a word", () => {
  for (const count of [1, 2, 3, 4095, 4096, 4097, 10_001]) {
    for (const at of new Set([0, 1, 4094, 4095, 4096, count - 2, count - 1])) {
      if (at < 0 || at >= count) continue;
      const halves = new Uint16Array(count).fill(0x7bff);
      assertEquals(findNonFinite("F16", new Uint8Array(halves.buffer)), -1);
      halves[at] = 0xfc00;
      halves[count - 1] = 0x7e00;
      assertEquals(findNonFinite("F16", new Uint8Array(halves.buffer)), at, `${at} of ${count}`);
    }
  }
  assertEquals(findNonFinite("F16", new Uint8Array()), -1);
});

Deno.test("elementAt() widens one element", () => {
  const bytes = new Uint8Array(Uint16Array.of(0, 0xfc00, 0x3c00).buffer);
  assertEquals([elementAt("F16", bytes, 1), elementAt("F16", bytes, 2)], [-Infinity, 1]);
  assert(elementAt("BF16", bytes, 0) === 0);
});

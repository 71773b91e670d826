import { assertEquals } from "@std/assert";
import { formatByteSize, parseByteSize } from "../../src/base/byte_size.ts";

Deno.test("parseByteSize() reads plain numbers and binary units in any case", () => {
  const texts = ["0", "4096", "4096B", "3KiB", "512mib", "1.5 GiB", " 2GIB ", "1TiB", "0.5tib"];
  assertEquals(texts.map(parseByteSize), [
    0,
    4096,
    4096,
    3072,
    536_870_912,
    1_610_612_736,
    2_147_483_648,
    2 ** 40,
    2 ** 39,
  ]);
});

Deno.test("parseByteSize() rounds a fraction of a byte down", () => {
  assertEquals(parseByteSize("0.3KiB"), 307);
});

Deno.test("parseByteSize() refuses other forms", () => {
  for (const text of ["", "GiB", "2GB", "-1", "1e9", "1,5GiB", "2 GiB x"]) {
    assertEquals(parseByteSize(text), undefined, text);
  }
});

Deno.test("formatByteSize() takes the largest unit that keeps the number at 1 or more", () => {
  const sizes = [
    0,
    1023,
    1024,
    114_688,
    256 * 2 ** 20,
    2.5 * 2 ** 30,
    80 * 2 ** 30,
    2 ** 40 - 2 ** 30,
    1.5 * 2 ** 40,
  ];
  assertEquals(sizes.map(formatByteSize), [
    "0 B",
    "1023 B",
    "1 KiB",
    "112 KiB",
    "256 MiB",
    "2.5 GiB",
    "80 GiB",
    "1023 GiB",
    "1.5 TiB",
  ]);
});

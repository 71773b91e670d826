import { assertEquals } from "@std/assert";
import { packRows } from "../../src/weights/pack_rows.ts";

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, "0"));

Deno.test("packRows() puts 4-bit codes j and j + 4 into the halves of byte j", () => {
  const rows = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    [15, 15, 15, 15, 1, 2, 3, 4, 5, 6, 7, 8],
  ];
  const codes = Uint8Array.from(rows.flat());
  const packed = packRows({ codes, scales: Float16Array.of(1, -2) }, 12, "int4g32");
  assertEquals(hex(packed.codes), ["73625140", "0b0a0908", "4f3f2f1f", "08070605"]);
  assertEquals(hex(packed.scales), ["00003c00", "0000c000"]);
});

Deno.test("packRows() puts 8-bit codes and scales in order", () => {
  const codes = Uint8Array.from({ length: 36 }, (_, i) => i === 35 ? 255 : i);
  const groups = { codes, scales: Float16Array.of(1, 2) };
  const packed = packRows(groups, 36, "int8g32");
  assertEquals(hex(packed.codes.subarray(0, 1)), ["03020100"]);
  assertEquals(hex(packed.codes.subarray(8)), ["ff222120"]);
  assertEquals(hex(packed.scales), ["40003c00"]);
});

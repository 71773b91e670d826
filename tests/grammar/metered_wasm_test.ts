import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  importIndex,
  meterWasm,
  UNITS_EXPORT,
  UNITS_PER_CHECK,
} from "../../src/grammar/metered_wasm.ts";

/**
 * The module below, by hand (WebAssembly 2.0, chapter 5):
 *
 *     (import "a" "check" (func (result i32)))          index 0
 *     (import "a" "other" (func (result i32)))          index 1
 *     (global (mut i32) (i32.const 5))
 *     (func (export "spin") (loop br 0))
 *     (func (export "sum") (param i32) (result i32)     1 + 2 + ... + n, by a loop
 *     (func $again (export "again") (call $again))
 */
const MODULE = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...sized(1, [3, 0x60, 0, 1, 0x7f, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f]),
  ...sized(2, [2, ...name("a"), ...name("check"), 0, 0, ...name("a"), ...name("other"), 0, 0]),
  ...sized(3, [3, 1, 2, 1]),
  ...sized(6, [1, 0x7f, 1, 0x41, 5, 0x0b]),
  ...sized(7, [3, ...name("spin"), 0, 2, ...name("sum"), 0, 3, ...name("again"), 0, 4]),
  ...sized(10, [
    3,
    ...body([0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]),
    ...body([
      ...[1, 1, 0x7f, 0x03, 0x40, 0x20, 0, 0x20, 1, 0x6a, 0x21, 1],
      ...[0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b],
    ]),
    ...body([0, 0x10, 4, 0x0b]),
  ]),
]);

function sized(id: number, bytes: readonly number[]): number[] {
  return [id, bytes.length, ...bytes];
}

function body(bytes: readonly number[]): number[] {
  return [bytes.length, ...bytes];
}

function name(text: string): number[] {
  return body([...new TextEncoder().encode(text)]);
}

function run(module: Uint8Array<ArrayBuffer>, check: () => number) {
  const wasm = new WebAssembly.Module(module);
  const imports = { a: { check, other: () => 0 } };
  const { exports } = new WebAssembly.Instance(wasm, imports);
  return exports as unknown as Record<string, (n?: number) => number> & {
    [UNITS_EXPORT]: WebAssembly.Global;
  };
}

Deno.test("meterWasm() keeps what a module computes", () => {
  const plain = run(MODULE, () => 1);
  const metered = run(meterWasm(MODULE, 0), () => 1);
  for (const n of [1, 2, 1000]) assertEquals(metered.sum!(n), plain.sum!(n));
  assertEquals(metered.sum!(4), 10);
});

Deno.test("meterWasm() lets a check stop a loop that never ends, and a recursion", () => {
  let numChecks = 0;
  const metered = run(meterWasm(MODULE, 0), () => {
    if (++numChecks === 3) throw new Error("enough");
    metered[UNITS_EXPORT].value = UNITS_PER_CHECK;
    return 1;
  });
  assertThrows(() => metered.spin!(), Error, "enough");
  assertEquals(numChecks, 3);
  metered[UNITS_EXPORT].value = 10;
  numChecks = 2;
  assertThrows(() => metered.again!(), Error, "enough");
});

Deno.test("meterWasm() counts one unit for each turn of a loop and each call", () => {
  const metered = run(meterWasm(MODULE, 0), () => 1);
  metered[UNITS_EXPORT].value = 1000;
  metered.sum!(7);
  assertEquals(metered[UNITS_EXPORT].value, 1000 - 7 - 1);
});

Deno.test("importIndex() counts functions as the module does", () => {
  const module = new WebAssembly.Module(MODULE);
  assertEquals(["check", "other", "none"].map((name) => importIndex(module, name)), [0, 1, -1]);
  assert(WebAssembly.validate(meterWasm(MODULE, 1)));
});

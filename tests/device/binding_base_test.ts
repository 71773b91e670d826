import { assertEquals } from "@std/assert";
import { basedCall } from "../../src/device/binding_base.ts";
import type { Binding } from "../../src/device/kernel.ts";

const BINDINGS: readonly Binding[] = [
  { name: "step", access: "read" },
  { name: "kv", access: "read", base: ["LAYER_OFFSET", "LAYER_OFFSET_LOADS"] },
];

Deno.test("basedCall() binds a buffer from a row on that is aligned, and compiles the first row", () => {
  const constants = { LAYER_OFFSET: 128, LAYER_OFFSET_LOADS: 32, STRIDE: 256 };
  assertEquals(basedCall({ bindings: BINDINGS, constants }, 256), {
    constants: { LAYER_OFFSET: 0, LAYER_OFFSET_LOADS: 0, STRIDE: 256 },
    offsets: [0, 512],
  });
});

Deno.test("basedCall() leaves the constants of a row where no binding can begin", () => {
  const constants = { LAYER_OFFSET: 68, LAYER_OFFSET_LOADS: 17, STRIDE: 256 };
  assertEquals(basedCall({ bindings: BINDINGS, constants }, 256), { constants, offsets: [0, 0] });
  assertEquals(basedCall({ bindings: BINDINGS, constants }, 16).offsets, [0, 272]);
});

Deno.test("basedCall() adds no constant that a kernel lacks", () => {
  assertEquals(basedCall({ bindings: BINDINGS, constants: { LAYER_OFFSET: 64 } }, 256), {
    constants: { LAYER_OFFSET: 0 },
    offsets: [0, 256],
  });
  assertEquals(basedCall({ bindings: BINDINGS, constants: { N: 3 } }, 256), {
    constants: { N: 3 },
    offsets: [0, 0],
  });
});

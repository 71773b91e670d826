import { assertAlmostEquals, assertEquals } from "@std/assert";
import { kvBytesPerToken } from "../../src/core/kv_layout.ts";
import {
  bytesPerToken,
  isServed,
  layerBytes,
  PLANNED_DTYPES,
  type PlannedDtype,
} from "../../src/plan/kv_dtypes.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { findPreset, PRESET_NAMES } from "../../src/plan/presets.ts";

const HEADS = { numKvHeads: 8, headDim: 128 };

Deno.test("layerBytes() counts K, V and the scales of every head", () => {
  const sizes = PLANNED_DTYPES.map((dtype) => layerBytes({ numKvHeads: 3, headDim: 64 }, dtype));
  assertEquals(sizes, [
    2 * 3 * 64 * 2,
    2 * 3 * 64 * 4,
    2 * 3 * (64 + 4),
    2 * 3 * (64 + 4),
    2 * 3 * (32 + 4),
  ]);
});

Deno.test("R12: int8 holds 1.94 times and int4 3.76 times the tokens of f16 at 128 per head", () => {
  const factor = (dtype: PlannedDtype) => layerBytes(HEADS, "f16") / layerBytes(HEADS, dtype);
  assertAlmostEquals(factor("int8"), 1.94, 0.005);
  assertAlmostEquals(factor("fp8"), 1.94, 0.005);
  assertAlmostEquals(factor("int4"), 3.76, 0.006);
});

Deno.test("bytesPerToken() agrees with the layout of the server's own pool", () => {
  for (const name of PRESET_NAMES) {
    const shape = findPreset(name)!;
    for (const dtype of PLANNED_DTYPES.filter(isServed)) {
      assertEquals(bytesPerToken(shape, dtype), kvBytesPerToken({ ...shape.groups[0]!, dtype }));
    }
  }
});

Deno.test("bytesPerToken() adds up groups of different sizes", () => {
  const groups: ModelShape["groups"] = [
    { kind: "full", numLayers: 2, numKvHeads: 1, headDim: 8 },
    { kind: "sliding_window", numLayers: 3, numKvHeads: 2, headDim: 16, window: 4 },
  ];
  const shape = { name: "m", maxModelLen: 64, groups };
  assertEquals(bytesPerToken(shape, "f16"), 2 * (2 * 1 * 8 * 2) + 3 * (2 * 2 * 16 * 2));
});

Deno.test("isServed() holds for the element types that the server takes and no others", () => {
  assertEquals(PLANNED_DTYPES.filter(isServed), ["f16", "f32"]);
});

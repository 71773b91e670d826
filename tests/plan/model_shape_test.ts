import { assertEquals } from "@std/assert";
import { numLayersOf } from "../../src/plan/model_shape.ts";

Deno.test("numLayersOf() counts the layers of all groups", () => {
  const heads = { numKvHeads: 1, headDim: 8 };
  const groups = [
    { kind: "full", numLayers: 4, ...heads } as const,
    { kind: "sliding_window", numLayers: 22, window: 512, ...heads } as const,
  ];
  assertEquals(numLayersOf({ name: "m", maxModelLen: 64, groups }), 26);
});

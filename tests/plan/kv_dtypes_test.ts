import { assertAlmostEquals, assertEquals } from "@std/assert";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { kvBytesPerToken } from "../../src/core/kv_layout.ts";
import {
  bytesPerToken,
  bytesPerTokenByGroup,
  dtypesByGroup,
  layerBytes,
} from "../../src/plan/kv_dtypes.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { findPreset, PRESET_NAMES } from "../../src/plan/presets.ts";

const HEADS = { numKvHeads: 8, headDim: 128 };
const HYBRID: ModelShape = {
  name: "m",
  maxModelLen: 64,
  groups: [
    { kind: "full", numLayers: 2, numKvHeads: 1, headDim: 8 },
    { kind: "sliding_window", numLayers: 3, numKvHeads: 2, headDim: 16, window: 4 },
  ],
};

Deno.test("layerBytes() counts K, V and the scales of every head", () => {
  const sizes = KV_CACHE_DTYPES.map((dtype) => layerBytes({ numKvHeads: 3, headDim: 64 }, dtype));
  assertEquals(sizes, [
    2 * 3 * 64 * 2,
    2 * 3 * 64 * 4,
    2 * 3 * (64 + 4),
    2 * 3 * (64 + 4),
    2 * 3 * (32 + 4),
  ]);
});

Deno.test("R12: int8 holds 1.94 times and int4 3.76 times the tokens of f16 at 128 per head", () => {
  const factor = (dtype: KvCacheDtype) => layerBytes(HEADS, "f16") / layerBytes(HEADS, dtype);
  assertAlmostEquals(factor("int8"), 1.94, 0.005);
  assertAlmostEquals(factor("fp8"), 1.94, 0.005);
  assertAlmostEquals(factor("int4"), 3.76, 0.006);
});

Deno.test("bytesPerToken() agrees with the layout of the server's own pool", () => {
  for (const name of PRESET_NAMES) {
    const shape = findPreset(name)!;
    for (const dtype of KV_CACHE_DTYPES) {
      for (const f16EdgeLayers of [undefined, false, true]) {
        const format = { dtype, f16EdgeLayers };
        const pool = kvBytesPerToken({ ...shape.groups[0]!, ...format });
        assertEquals(bytesPerToken(shape, format), pool, `${name} ${dtype}`);
      }
    }
  }
});

Deno.test("bytesPerTokenByGroup() adds up groups of different sizes", () => {
  assertEquals(bytesPerTokenByGroup(HYBRID, { dtype: "f16" }), [
    2 * (2 * 1 * 8 * 2),
    3 * (2 * 2 * 16 * 2),
  ]);
  assertEquals(bytesPerToken(HYBRID, { dtype: "f16" }), 64 + 384);
});

Deno.test("dtypesByGroup() finds the first and the last layer in their groups", () => {
  const split = (shape: ModelShape) =>
    dtypesByGroup(shape, { dtype: "int4" }).map((layers) =>
      layers.map(({ numLayers, dtype }) => `${numLayers} ${dtype}`)
    );
  assertEquals(split(HYBRID), [["1 int4", "1 f16"], ["2 int4", "1 f16"]]);
  assertEquals(split({ ...HYBRID, lastGroup: 0 }), [["2 f16"], ["3 int4"]]);
  const single = { ...HYBRID, groups: [{ ...HYBRID.groups[0]!, numLayers: 1 }] };
  assertEquals(split(single), [["1 f16"]]);
});

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { layerBytesPerToken, layerDtypes } from "../../src/core/kv_layout.ts";
import {
  bytesPerToken,
  bytesPerTokenByGroup,
  dtypesByGroup,
  layerBytes,
} from "../../src/plan/kv_dtypes.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { PRESET_NAMES } from "../../src/plan/presets.ts";
import { presetShape } from "../../src/server/model_shape.ts";

const HEADS = { kind: "full", numKvHeads: 8, headDim: 128 } as const;
const FULL = { kind: "full", numKvHeads: 1, headDim: 8 } as const;
const SLIDING = {
  kind: "sliding_window",
  numKvHeads: 2,
  headDim: 16,
  window: 4,
} as const;
const HYBRID: ModelShape = {
  name: "m",
  maxModelLen: 64,
  caches: [FULL, FULL, SLIDING, SLIDING, SLIDING],
};

Deno.test("layerBytes() counts K, V and the scales of every head", () => {
  const sizes = KV_CACHE_DTYPES.map((dtype) =>
    layerBytes({ kind: "full", numKvHeads: 3, headDim: 64 }, dtype)
  );
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
    const shape = presetShape(name)!;
    for (const dtype of KV_CACHE_DTYPES) {
      for (const f16EdgeLayers of [undefined, false, true]) {
        const format = { dtype, f16EdgeLayers };
        const dtypes = layerDtypes({ ...format, numLayers: shape.caches.length });
        const pool = shape.caches.reduce((sum, cache, layer) => {
          assert(cache !== undefined && "headDim" in cache);
          return sum + layerBytesPerToken({ ...cache, dtype: dtypes[layer]! });
        }, 0);
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
  const enclosed = { ...HYBRID, caches: [FULL, SLIDING, SLIDING, SLIDING, FULL] };
  assertEquals(split(enclosed), [["2 f16"], ["3 int4"]]);
  assertEquals(split({ ...HYBRID, caches: [FULL] }), [["1 f16"]]);
  // The last layer reads an earlier one's keys and values: it has none in f16.
  assertEquals(split({ ...HYBRID, caches: [FULL, FULL, undefined] }), [["1 int4", "1 f16"]]);
});

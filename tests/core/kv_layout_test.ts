import { assertEquals } from "@std/assert";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import {
  isQuantizedKv,
  kvFormat,
  kvLayoutName,
  layerBytesPerToken,
  layerDtypes,
  numBlocksForTokens,
} from "../../src/core/kv_layout.ts";

Deno.test("layerBytesPerToken() counts K and V of every head of one layer", () => {
  assertEquals(layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype: "f16" }), 2 * 3 * 64 * 2);
  assertEquals(layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype: "f32" }), 2 * 3 * 64 * 4);
});

Deno.test("numBlocksForTokens() counts a block begun as a whole one", () => {
  const counts = [0, 1, 15, 16, 17, 32].map((numTokens) => numBlocksForTokens(numTokens, 16));
  assertEquals(counts, [0, 1, 1, 1, 2, 2]);
});

Deno.test("layerBytesPerToken() counts a scale for each K and V where elements are codes", () => {
  const sizes = KV_CACHE_DTYPES.map((dtype) =>
    layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype })
  );
  assertEquals(sizes, [6 * 128, 6 * 256, 6 * (64 + 4), 6 * (64 + 4), 6 * (32 + 4)]);
  assertEquals(KV_CACHE_DTYPES.filter(isQuantizedKv), ["int8", "fp8", "int4"]);
});

Deno.test("layerDtypes() keeps f16 at the edges for int4, for others where asked, never for f32", () => {
  const dtypes = (dtype: KvCacheDtype, kvCacheF16EdgeLayers?: boolean, numLayers = 3) => {
    const asked = kvCacheF16EdgeLayers === undefined ? {} : { kvCacheF16EdgeLayers };
    return layerDtypes({ numLayers, ...kvFormat({ kvCacheDtype: dtype, ...asked }) }).join(" ");
  };
  assertEquals(dtypes("int4"), "f16 int4 f16");
  assertEquals(dtypes("int4", false), "int4 int4 int4");
  assertEquals(dtypes("int8"), "int8 int8 int8");
  assertEquals(dtypes("fp8", true), "f16 fp8 f16");
  assertEquals(dtypes("f32", true), "f32 f32 f32");
  assertEquals(dtypes("int4", true, 1), "f16");
});

Deno.test("kvLayoutName() tells all dtypes, and what the first and last layer are in, apart", () => {
  const names = KV_CACHE_DTYPES.flatMap((dtype) =>
    [undefined, false, true].map((f16EdgeLayers) => kvLayoutName({ dtype, f16EdgeLayers }))
  );
  // f16 and f32 know no edges, and for each of the others the default is one of the two.
  assertEquals(new Set(names).size, 2 + 3 * 2);
});

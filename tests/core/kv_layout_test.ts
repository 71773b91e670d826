import { assertEquals } from "@std/assert";
import { KV_CACHE_DTYPES } from "../../src/core/engine_config.ts";
import {
  bytesPerTokenByLayer,
  isQuantizedKv,
  kvBytesPerBlock,
  kvBytesPerToken,
  kvFormat,
  type KvGeometry,
  kvLayoutName,
  layerBytesPerToken,
  layerDtypes,
  numBlocksForBytes,
  numBlocksForTokens,
} from "../../src/core/kv_layout.ts";

const MIB = 2 ** 20;
const LLAMA_2_7B: KvGeometry = { numLayers: 32, numKvHeads: 32, headDim: 128, dtype: "f16" };
const LLAMA_3_70B: KvGeometry = { numLayers: 80, numKvHeads: 8, headDim: 128, dtype: "f16" };

Deno.test("layerBytesPerToken() counts K and V of every head of one layer", () => {
  assertEquals(layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype: "f16" }), 2 * 3 * 64 * 2);
  assertEquals(layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype: "f32" }), 2 * 3 * 64 * 4);
});

Deno.test("kvBytesPerToken() gives the published sizes of Llama-2-7B in f16", () => {
  const contexts = [512, 1024, 2048, 4096, 8192];
  const sizes = contexts.map((numTokens) => numTokens * kvBytesPerToken(LLAMA_2_7B) / MIB);
  assertEquals(sizes, [256, 512, 1024, 2048, 4096]);
});

Deno.test("kvBytesPerToken() gives the published sizes of Llama-3-70B in f16", () => {
  assertEquals(kvBytesPerToken(LLAMA_3_70B), 327_680);
  assertEquals(8192 * kvBytesPerToken(LLAMA_3_70B), 2.5 * 1024 * MIB);
});

Deno.test("numBlocksForTokens() counts a block begun as a whole one", () => {
  const counts = [0, 1, 15, 16, 17, 32].map((numTokens) => numBlocksForTokens(numTokens, 16));
  assertEquals(counts, [0, 1, 1, 1, 2, 2]);
});

Deno.test("numBlocksForBytes() counts whole blocks only", () => {
  const blockBytes = kvBytesPerBlock(LLAMA_2_7B, 16);
  assertEquals(blockBytes, 8 * MIB);
  assertEquals(numBlocksForBytes(3 * blockBytes, LLAMA_2_7B, 16), 3);
  assertEquals(numBlocksForBytes(3 * blockBytes - 1, LLAMA_2_7B, 16), 2);
  assertEquals(numBlocksForBytes(blockBytes - 1, LLAMA_2_7B, 16), 0);
});

Deno.test("layerBytesPerToken() counts a scale for each K and V where elements are codes", () => {
  const sizes = KV_CACHE_DTYPES.map((dtype) =>
    layerBytesPerToken({ numKvHeads: 3, headDim: 64, dtype })
  );
  assertEquals(sizes, [6 * 128, 6 * 256, 6 * (64 + 4), 6 * (64 + 4), 6 * (32 + 4)]);
  assertEquals(KV_CACHE_DTYPES.filter(isQuantizedKv), ["int8", "fp8", "int4"]);
});

Deno.test("layerDtypes() keeps f16 at the edges for int4, for others where asked, never for f32", () => {
  const dtypes = (dtype: KvGeometry["dtype"], kvCacheF16EdgeLayers?: boolean, numLayers = 3) => {
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

Deno.test("bytesPerTokenByLayer() and the sizes after it follow each layer's own dtype", () => {
  const geometry: KvGeometry = { numLayers: 3, numKvHeads: 1, headDim: 32, dtype: "int4" };
  assertEquals(bytesPerTokenByLayer(geometry), [128, 40, 128]);
  assertEquals(kvBytesPerToken(geometry), 296);
  assertEquals(kvBytesPerBlock(geometry, 4), 1184);
  assertEquals(numBlocksForBytes(2 * 1184, geometry, 4), 2);
});

Deno.test("kvLayoutName() tells all dtypes, and what the first and last layer are in, apart", () => {
  const names = KV_CACHE_DTYPES.flatMap((dtype) =>
    [undefined, false, true].map((f16EdgeLayers) => kvLayoutName({ dtype, f16EdgeLayers }))
  );
  // f16 and f32 know no edges, and for each of the others the default is one of the two.
  assertEquals(new Set(names).size, 2 + 3 * 2);
});

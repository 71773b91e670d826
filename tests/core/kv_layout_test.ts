import { assertEquals } from "@std/assert";
import {
  kvBytesPerBlock,
  kvBytesPerToken,
  type KvGeometry,
  layerBytesPerToken,
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

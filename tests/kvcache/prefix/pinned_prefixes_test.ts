import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { BlockManager } from "../../../src/kvcache/block_manager.ts";
import { KEY_SPACE } from "../../support/scheduler_rig.ts";

/** A pool of eight blocks of 2 that holds the KV of `[0, numTokens)`, all idle. */
function managerWith(numTokens: number): BlockManager {
  const blocks = new BlockManager({
    numBlocks: 8,
    blockSize: 2,
    numWatermarkBlocks: 0,
    prefixCache: { keySpace: KEY_SPACE },
  });
  const tokens = tokensOf(0, numTokens);
  assert(blocks.tryAdmit(0, tokens));
  blocks.markComputed(0, tokens, numTokens);
  blocks.free(0);
  return blocks;
}

function tokensOf(first: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => first + i);
}

Deno.test("PinnedPrefixes keeps what is pinned from eviction, until it is unpinned", () => {
  const blocks = managerWith(8);
  const pins = blocks.pins!;
  assertEquals(pins.pin("system", "", tokensOf(0, 5)), 2);
  assertEquals([blocks.numFree, blocks.numIdle, blocks.numInUse], [4, 2, 2]);
  blocks.checkIntegrity();
  assertEquals(blocks.tryAdmit(1, tokensOf(90, 14)), undefined);
  assert(blocks.tryAdmit(1, tokensOf(90, 12)));
  assertEquals(blocks.numTokensCached(tokensOf(0, 8)), 4, "the pinned blocks are still found");
  blocks.free(1);
  assertEquals([pins.numBlocks, pins.numTokens], [2, 4]);
  assertEquals([pins.remove("system"), pins.remove("system"), pins.numBlocks], [true, false, 0]);
  assertEquals(pins.numTokens, 0);
  blocks.checkIntegrity();
  assert(blocks.tryAdmit(1, tokensOf(90, 16)));
});

Deno.test("PinnedPrefixes refuses with the numbers what exceeds the cap, and changes nothing", () => {
  const blocks = managerWith(12);
  const pins = blocks.pins!;
  pins.pin("a", "", tokensOf(0, 6));
  const before = [blocks.numFree, blocks.numIdle, pins.numBlocks];
  const { data } = assertThrows(() => pins.pin("b", "", tokensOf(0, 4)), RequestError);
  assertEquals([data.status, data.code], [400, "pin_limit_exceeded"]);
  assertEquals(data.details, { n_blocks: 2, n_pinned: 3, limit: 4 });
  const again = assertThrows(
    () => pins.pin("a", "", tokensOf(0, 12)),
    RequestError,
    "0 are pinned",
  );
  assertEquals(again.data.details, { n_blocks: 6, n_pinned: 0, limit: 4 }, "its own make room");
  assertEquals([blocks.numFree, blocks.numIdle, pins.numBlocks], before);
  blocks.checkIntegrity();
  assertEquals(pins.pin("a", "", tokensOf(0, 8)), 4, "in place of what the name held");
  assertEquals([pins.numBlocks, pins.numTokens], [4, 8]);
});

Deno.test("PinnedPrefixes pins nothing where nothing is cached", () => {
  const blocks = managerWith(4);
  assertEquals(blocks.pins!.pin("a", "elsewhere", tokensOf(0, 4)), 0);
  assertEquals(blocks.numInUse, 0);
});

Deno.test("BlockManager.clearCache() takes pins back", () => {
  const blocks = managerWith(8);
  blocks.pins!.pin("a", "", tokensOf(0, 8));
  blocks.clearCache();
  blocks.checkIntegrity();
  assertEquals([blocks.numFree, blocks.pins!.numBlocks], [8, 0]);
});

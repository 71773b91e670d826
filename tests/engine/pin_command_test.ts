import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import { longScope } from "../../src/core/long_context.ts";
import { pinPrefix } from "../../src/engine/pin_command.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import { FULL, windowOf } from "../support/kv_groups.ts";

const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "m", layout: "l" };
const TOKENS = Uint32Array.of(1, 2, 3, 4, 5);

function command(cacheScope?: string) {
  const scope = cacheScope === undefined ? {} : { cacheScope };
  return { type: "pin_prefix" as const, name: "p", tokens: TOKENS, ...scope };
}

Deno.test("pinPrefix() pins the whole cached blocks of its scope and says how many", () => {
  const blocks = new BlockManager({
    numBlocks: 8,
    blockSize: 2,
    prefixCache: { keySpace: KEY_SPACE },
  });
  assertEquals(pinPrefix(blocks.pins, command()).numBlocks, 0);
  blocks.tryAdmit(1, TOKENS, { scope: "a" });
  blocks.markComputed(1, TOKENS, TOKENS.length);
  blocks.free(1);
  assertEquals(pinPrefix(blocks.pins, command()).numBlocks, 0);
  assertEquals(pinPrefix(blocks.pins, command("a")), {
    numBlocks: 2,
    numTokens: 4,
    numPinned: 2,
    maxNumPinned: 4,
  });
  assertEquals(blocks.numInUse, 2);
  blocks.checkIntegrity();
});

Deno.test("pinPrefix() counts each position once, however many groups keep it", () => {
  const blocks = new BlockManager({
    groups: [FULL, windowOf(2)],
    numBlocks: 12,
    blockSize: 2,
    prefixCache: { keySpace: KEY_SPACE },
  });
  blocks.tryAdmit(1, TOKENS);
  blocks.markComputed(1, TOKENS, TOKENS.length);
  blocks.free(1);
  const { numBlocks, numTokens } = pinPrefix(blocks.pins, command());
  assertEquals([numBlocks, numTokens], [2 + 1, 4]);
});

Deno.test("pinPrefix() says when there is no cache to pin in", () => {
  const error = assertThrows(() => pinPrefix(undefined, command()), RequestError);
  assertEquals(error.data.code, "prefix_cache_off");
});

Deno.test("pinPrefix() pins a prefix longer than a short context as such sequences have it", () => {
  const blocks = new BlockManager({
    numBlocks: 8,
    blockSize: 2,
    prefixCache: { keySpace: KEY_SPACE },
  });
  blocks.tryAdmit(1, TOKENS, { scope: longScope("a") });
  blocks.markComputed(1, TOKENS, TOKENS.length);
  blocks.free(1);
  assertEquals(pinPrefix(blocks.pins, command("a"), 5).numBlocks, 0);
  assertEquals(pinPrefix(blocks.pins, command("a"), 4).numBlocks, 2);
});

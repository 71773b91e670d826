import { assertEquals } from "@std/assert";
import { EvictedBlocks } from "../../../src/kvcache/prefix/evicted_blocks.ts";

Deno.test("EvictedBlocks remembers the latest, and none after a clear", () => {
  const blocks = new EvictedBlocks(4);
  assertEquals(blocks.isEmpty, true);
  // All but -7 fall into one bucket, so that a chain loses its middle as well as its ends.
  for (const hash of [4, 8, 4, -7, 12, 16]) blocks.add(hash);
  assertEquals([4, 8, -7, 12, 16].map((hash) => blocks.has(hash)), [true, false, true, true, true]);
  blocks.add(20);
  assertEquals([4, -7, 12, 16, 20].map((hash) => blocks.has(hash)), [
    false,
    true,
    true,
    true,
    true,
  ]);
  blocks.clear();
  assertEquals([blocks.isEmpty, blocks.has(20)], [true, false]);
  blocks.add(4);
  assertEquals([4, 8, 20].map((hash) => blocks.has(hash)), [true, false, false]);
});

Deno.test("EvictedBlocks remembers as many as it may, however far its columns have grown", () => {
  const blocks = new EvictedBlocks(200);
  for (let hash = 0; hash < 500; hash++) {
    blocks.add(hash, 10 * hash);
    const first = Math.max(0, hash - 199);
    assertEquals([first - 1, first, hash, hash + 1].map((each) => blocks.timeOf(each)), [
      undefined,
      10 * first,
      10 * hash,
      undefined,
    ]);
  }
});

Deno.test("EvictedBlocks says when a block was evicted the last time", () => {
  const blocks = new EvictedBlocks(3);
  [[4, 10], [8, 20], [4, 30], [12, 40]].forEach(([hash, time]) => blocks.add(hash!, time!));
  assertEquals([4, 8, 12, 16].map((hash) => blocks.timeOf(hash)), [30, 20, 40, undefined]);
});

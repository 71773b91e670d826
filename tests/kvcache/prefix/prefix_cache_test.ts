import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import type { BlockId } from "../../../src/core/ids.ts";
import type { BlockManagerOptions } from "../../../src/kvcache/admission.ts";
import { BlockManager } from "../../../src/kvcache/block_manager.ts";
import { BlockPool } from "../../../src/kvcache/pool/block_pool.ts";
import type { CacheListener } from "../../../src/kvcache/prefix/cache_listener.ts";
import { PrefixCache } from "../../../src/kvcache/prefix/prefix_cache.ts";
import { cases } from "../../support/runs.ts";
import { KEY_SPACE } from "../../support/scheduler_rig.ts";

/** Blocks of 16 and a pool of 10, all of it for whoever comes, unless told otherwise. */
function managerOf(options: Partial<BlockManagerOptions> = {}): BlockManager {
  return new BlockManager({
    numBlocks: 10,
    blockSize: 16,
    numWatermarkBlocks: 0,
    prefixCache: { keySpace: KEY_SPACE },
    ...options,
  });
}

/** `count` tokens of one value. */
function run(value: number, count: number): number[] {
  return new Array<number>(count).fill(value);
}

/** `count` tokens that all differ, from `first` on. */
function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Admits and computes a whole sequence; returns how much was found. */
function serve(blocks: BlockManager, id: number, tokens: readonly number[], scope = ""): number {
  const all = Uint32Array.from(tokens);
  const admission = blocks.tryAdmit(id, all, { scope });
  assert(admission !== undefined, `sequence ${id} does not fit`);
  blocks.markComputed(id, all, all.length);
  blocks.checkIntegrity();
  return admission.numCachedTokens;
}

function tableOf(blocks: BlockManager, id: number): BlockId[] {
  return [...blocks.blockTables(id)[0]!];
}

const COMMON = [...run(0, 16), ...run(1, 16), ...run(2, 16)];

Deno.test("PrefixCache shares, frees and evicts in the order of S9", () => {
  const blocks = managerOf();
  assertEquals(serve(blocks, 0, [...COMMON, ...run(3, 7)]), 0);
  assertEquals(tableOf(blocks, 0), [0, 1, 2, 3]);
  assertEquals(serve(blocks, 1, [...COMMON, ...run(4, 5)]), 48);
  assertEquals(tableOf(blocks, 1), [0, 1, 2, 4]);
  assertEquals(blocks.numFree, 5);
  blocks.free(0);
  blocks.free(1);
  assertEquals([blocks.numFree, blocks.numIdle], [7, 3]);
  assertEquals(serve(blocks, 2, [...COMMON, ...run(5, 6)]), 48);
  assertEquals(tableOf(blocks, 2), [0, 1, 2, 4]);
  assertEquals([blocks.numFree, blocks.numIdle], [6, 0]);
  blocks.free(2);
  assertEquals(serve(blocks, 3, run(99, 160)), 0);
  assertEquals(tableOf(blocks, 3), [4, 3, 5, 6, 7, 8, 9, 2, 1, 0]);
  assertEquals([blocks.numFree, blocks.numIdle, blocks.numEvicted], [0, 0, 3]);
});

Deno.test("PrefixCache evicts by last use across sequences (S12)", () => {
  const blocks = managerOf();
  serve(blocks, 0, range(0, 87));
  serve(blocks, 1, range(100, 48));
  assertEquals(blocks.numFree, 1);
  blocks.free(0);
  blocks.free(1);
  assertEquals(blocks.numFree + blocks.numIdle, 10);
  assertEquals(serve(blocks, 2, range(0, 35)), 32);
  assertEquals(tableOf(blocks, 2), [0, 1, 5]);
  assertEquals(blocks.numFree + blocks.numIdle, 7);
  // The rest of the first sequence goes before the second, each from its end.
  serve(blocks, 3, range(500, 16 * 7));
  assertEquals(tableOf(blocks, 3), [9, 4, 3, 2, 8, 7, 6]);
});

Deno.test("PrefixCache forgets what a block held when it is used again (S13)", () => {
  const blocks = managerOf({ numBlocks: 1 });
  serve(blocks, 0, range(0, 16));
  blocks.free(0);
  assertEquals(blocks.numIdle, 1);
  serve(blocks, 1, range(50, 15));
  assertEquals(tableOf(blocks, 1), [0]);
  blocks.free(1);
  assertEquals([blocks.numFree, blocks.numIdle], [1, 0]);
  assertEquals(blocks.numTokensCached(Uint32Array.from(range(0, 17))), 0);
});

Deno.test("BlockManager without a prefix cache finds and keeps nothing (S15)", () => {
  const blocks = new BlockManager({ numBlocks: 4, blockSize: 4, numWatermarkBlocks: 0 });
  serve(blocks, 0, range(0, 10));
  assertEquals(tableOf(blocks, 0).length, 3);
  blocks.free(0);
  assertEquals([blocks.numFree, blocks.numIdle], [4, 0]);
  assertEquals(serve(blocks, 1, range(0, 16)), 0);
  assertEquals(tableOf(blocks, 1).length, 4);
  assertEquals(blocks.tryAdmit(2, Uint32Array.from(range(0, 4))), undefined);
  assertEquals([blocks.canHit, blocks.pins, blocks.numEvicted], [false, undefined, 0]);
});

Deno.test("BlockManager.tryAdmit() changes nothing when its own hits are the room it lacks (S16)", () => {
  const blocks = managerOf();
  const [a, b] = [range(0, 48), range(100, 48)];
  serve(blocks, 0, [...a, 7]);
  blocks.free(0);
  serve(blocks, 1, [...a, ...b, 7]);
  const [table0, table1] = [tableOf(blocks, 1).slice(0, 3), tableOf(blocks, 1).slice(3, 6)];
  assertEquals(serve(blocks, 0, [...a, 8]), 48);
  assertEquals(tableOf(blocks, 0).slice(0, 3), table0);
  blocks.free(1);
  serve(blocks, 2, range(1000, 32));
  assertEquals([blocks.numFree, blocks.numIdle], [1, 3], "the idle ones are those of b");
  const before = [blocks.numFree, blocks.numIdle, blocks.numEvicted, blocks.numSequences];
  const long = Uint32Array.from([...a, ...b, ...range(200, 32)]);
  assertEquals(blocks.numTokensCached(long), 96);
  assertEquals(blocks.tryAdmit(3, long), undefined);
  blocks.checkIntegrity();
  assertEquals([blocks.numFree, blocks.numIdle, blocks.numEvicted, blocks.numSequences], before);
  assertEquals(blocks.numTokensCached(long), 96);
  // Nothing lost its turn either: the end of b is evicted first.
  serve(blocks, 4, range(2000, 32));
  assertEquals(tableOf(blocks, 4)[1], table1[2]);
});

Deno.test("BlockManager.clearCache() wants every table back first (S21)", () => {
  const blocks = managerOf();
  serve(blocks, 0, [...COMMON, ...run(3, 7)]);
  assertEquals(serve(blocks, 1, [...COMMON, ...run(4, 5)]), 48);
  assertThrows(() => blocks.clearCache(), InvariantError, "while 2 sequences hold blocks");
  assertEquals(blocks.numTokensCached(Uint32Array.from([...COMMON, 9])), 48);
  blocks.free(0);
  blocks.free(1);
  blocks.clearCache();
  blocks.checkIntegrity();
  assertEquals([blocks.numFree, blocks.numIdle], [10, 0]);
  assertEquals(blocks.numTokensCached(Uint32Array.from([...COMMON, 9])), 0);
});

Deno.test("BlockManager.tryAdmit() never finds a whole prompt: the last token is computed (I9)", () => {
  const blocks = managerOf();
  serve(blocks, 0, range(0, 32));
  blocks.free(0);
  assertEquals(serve(blocks, 1, range(0, 32)), 16);
  blocks.free(1);
  assertEquals(serve(blocks, 2, range(0, 33)), 32);
});

Deno.test("PrefixCache keeps the first of two equal blocks, and the second its own (S105)", () => {
  const blocks = managerOf();
  serve(blocks, 0, range(0, 32));
  serve(blocks, 1, range(0, 32));
  assertEquals(tableOf(blocks, 1), [0, 2]);
  assertEquals([blocks.numFree, blocks.numIdle], [7, 0]);
  blocks.free(0);
  assertEquals(
    [blocks.numFree, blocks.numIdle],
    [7, 1],
    "block 0 is held, 1 is idle, 2 is not cached",
  );
  blocks.free(1);
  assertEquals([blocks.numFree, blocks.numIdle], [8, 2]);
  serve(blocks, 2, range(0, 33));
  assertEquals(tableOf(blocks, 2).slice(0, 2), [0, 1]);
});

Deno.test("OneFullGroupPath makes findable at its end what lies behind a duplicate", () => {
  const blocks = managerOf({ blockSize: 2 });
  serve(blocks, 0, [1, 2]);
  const tokens = Uint32Array.of(1, 2, 3, 4, 5, 6);
  assert(blocks.tryAdmit(1, tokens.subarray(0, 2)));
  blocks.markComputed(1, tokens, 2);
  assert(blocks.tryExtend(1, 6));
  blocks.markComputed(1, tokens, 5);
  assertEquals(
    blocks.numTokensCached(tokens),
    2,
    "block 1 of the table is no child of what it holds",
  );
  blocks.free(1);
  blocks.checkIntegrity();
  assertEquals(blocks.numTokensCached(tokens), 4);
  blocks.free(0);
  blocks.checkIntegrity();
  assertEquals([blocks.numFree, blocks.numIdle], [8, 2]);
});

Deno.test("PrefixCache lets a lone sequence have every block, its duplicates' originals included", () => {
  const blocks = managerOf({ numBlocks: 3, blockSize: 2 });
  serve(blocks, 0, [1, 2]);
  blocks.free(0);
  serve(blocks, 1, [1, 2]);
  assert(blocks.tryExtend(1, 6));
  assertEquals([blocks.numFree, blocks.numIdle, blocks.numEvicted], [0, 0, 1]);
  assertEquals(blocks.tryExtend(1, 7), false);
});

Deno.test("PrefixCache evicts chains from their leaves, and nothing above what is held (S108)", () => {
  const blocks = managerOf({ blockSize: 1 });
  serve(blocks, 0, [1, 2, 3]);
  serve(blocks, 1, [1, 2, 4, 5]);
  blocks.free(0);
  assertEquals([blocks.numFree, blocks.numIdle], [5, 1]);
  assertEquals(blocks.tryExtend(1, 10), true);
  assertEquals([blocks.numFree, blocks.numIdle, blocks.numEvicted], [0, 0, 1]);
  assertEquals(blocks.numTokensCached(Uint32Array.of(1, 2, 4, 9)), 3);
  blocks.free(1);
  assertEquals(blocks.numIdle, 4);
  serve(blocks, 2, range(50, 10));
  assertEquals(blocks.numTokensCached(Uint32Array.of(1, 2, 4, 9)), 0);
  blocks.free(2);
  assertEquals(serve(blocks, 3, [1, 2, 3]), 0);
  blocks.free(3);
  assertEquals(serve(blocks, 4, [1, 2, 3, 4]), 3, "what was evicted can be cached again");
});

Deno.test("PrefixCache records a run of evictions once, each block before its parent", () => {
  const removals: (readonly string[])[] = [];
  const stored: string[] = [];
  const listener: CacheListener = {
    stored: ({ key }) => void stored.push(key),
    removed: ({ keys }) => void removals.push(keys),
    used: () => {},
    cleared: () => {},
  };
  const blocks = managerOf({ blockSize: 1, prefixCache: { keySpace: KEY_SPACE, listener } });
  serve(blocks, 0, [1, 2, 3, 4]);
  blocks.free(0);
  serve(blocks, 1, [1, 2, 8, 9]);
  blocks.free(1);
  const [one, two, three, four, eight, nine] = stored;
  // Six blocks are cached and four are free.
  assertEquals(serve(blocks, 2, range(50, 8)), 0);
  assertEquals(removals, [[four!, three!, nine!, eight!]]);
  blocks.free(2);
  assertEquals(serve(blocks, 3, range(70, 6)), 0);
  assertEquals(removals[1], [two!, one!, ...stored.slice(10, 14).reverse()]);
});

Deno.test("BlockManager.tryAdmit() tells what of a prompt was evicted of late, in its scope", () => {
  const cases = [
    { tokens: [1, 2, 3], scope: "a", numEvictedTokens: 1 },
    { tokens: [1, 2, 3, 4], scope: "a", numEvictedTokens: 2 },
    { tokens: [1, 2, 4, 3], scope: "a", numEvictedTokens: 1 },
    { tokens: [2, 3, 4], scope: "a", numEvictedTokens: 0 },
    { tokens: [1, 2, 3, 4], scope: "b", numEvictedTokens: 0 },
  ];
  for (const { tokens, scope, numEvictedTokens } of cases) {
    const blocks = managerOf({ blockSize: 1, numBlocks: 4 });
    serve(blocks, 0, [1, 2, 3], "a");
    blocks.free(0);
    serve(blocks, 1, [7, 8, 9]);
    blocks.free(1);
    assertEquals(blocks.numEvicted, 2, "2 and 3 of the first");
    const admission = blocks.tryAdmit(2, Uint32Array.from(tokens), { scope });
    assertEquals(admission?.numEvictedTokens, numEvictedTokens, `${scope}: ${tokens}`);
  }
});

Deno.test("BlockManager.tryAdmit() tells how long ago the first missing block was evicted", () => {
  let now = 1000;
  const prefixCache = { keySpace: KEY_SPACE, now: () => now };
  const blocks = managerOf({ blockSize: 1, numBlocks: 4, prefixCache });
  serve(blocks, 0, [1, 2, 3]);
  blocks.free(0);
  now = 5000;
  serve(blocks, 1, [7, 8, 9]);
  blocks.free(1);
  now = 5700;
  const gone = blocks.tryAdmit(2, Uint32Array.of(1, 2, 3, 4));
  assertEquals([gone?.numCachedTokens, gone?.numEvictedTokens, gone?.evictedAgoMs], [1, 2, 700]);
  blocks.free(2);
  const fresh = blocks.tryAdmit(3, Uint32Array.of(90, 91));
  assertEquals([fresh?.numEvictedTokens, fresh !== undefined && "evictedAgoMs" in fresh], [
    0,
    false,
  ]);
});

Deno.test("PrefixCache never finds blocks of another scope", () => {
  const blocks = managerOf();
  serve(blocks, 0, [...COMMON, 9], "alice");
  assertEquals(serve(blocks, 1, [...COMMON, 9], "bob"), 0);
  assertEquals(serve(blocks, 2, [...COMMON, 9], "alice"), 48);
  assertEquals(blocks.numTokensCached(Uint32Array.from([...COMMON, 9])), 0);
});

Deno.test("PrefixCache with forced misses stores and never finds", () => {
  const blocks = managerOf({ prefixCache: { keySpace: KEY_SPACE, forceMiss: true } });
  assertEquals(serve(blocks, 0, [...COMMON, 9]), 0);
  assertEquals(serve(blocks, 1, [...COMMON, 9]), 0);
  blocks.free(0);
  blocks.free(1);
  blocks.checkIntegrity();
  assertEquals([blocks.canHit, blocks.numIdle], [false, 3]);
});

Deno.test("PrefixCache.insert() wants what is above the place to be held", () => {
  const pool = new BlockPool(4);
  const cache = new PrefixCache(pool, 1, { keySpace: KEY_SPACE });
  const [parent, child] = cache.take([2], 0)[0]!;
  const tokens = Uint32Array.of(1, 2);
  cache.insert({ scope: "", parent: undefined }, parent!, { tokens, start: 0 });
  cache.release([parent!]);
  const place = { scope: "", parent: parent! };
  assertThrows(
    () => cache.insert(place, child!, { tokens, start: 1 }),
    InvariantError,
    "which nobody holds",
  );
});

for (const policy of cases(["priority", "lru", "slru"], 1)) {
  Deno.test(`PrefixCache keeps a million blocks in less than 64 MiB beside their tokens, and no object for any (${policy})`, async () => {
    const probe = new URL("../../support/cache_memory.ts", import.meta.url);
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--v8-flags=--expose-gc", probe.href, policy],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const { numBlocks, tokenBytes, columnBytes, heapBytes } = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    assertEquals(numBlocks, 1_000_000);
    assert(
      columnBytes > tokenBytes + 40 * numBlocks,
      `${columnBytes} bytes: columns are not counted`,
    );
    assert(columnBytes - tokenBytes < 64 * 2 ** 20, `${columnBytes - tokenBytes} bytes`);
    assert(heapBytes < numBlocks, `${heapBytes} bytes of heap for ${numBlocks} cached blocks`);
  });
}

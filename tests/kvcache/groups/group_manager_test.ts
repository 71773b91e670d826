import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import type { ContentKey, ContentKeys } from "../../../src/kvcache/groups/block_index.ts";
import { GroupManager } from "../../../src/kvcache/groups/group_manager.ts";
import type { GroupSpec } from "../../../src/kvcache/groups/group_spec.ts";
import { NO_BLOCK } from "../../../src/kvcache/groups/hybrid_hit.ts";
import { chunkGroup, fullGroup, stateGroup, windowGroup } from "../../support/group_specs.ts";

/** A manager of `numBlocks` blocks of 4 bytes, with a log of what is evicted. */
function manager(groups: readonly GroupSpec[], numBlocks: number, maxInFlightTokens = 1000) {
  const evicted: [number, ContentKey][] = [];
  const blocks = new GroupManager({
    groups,
    poolBytes: 4 * numBlocks,
    maxInFlightTokens,
    onEvict: (group, key) => evicted.push([group, key]),
  });
  return { blocks, evicted };
}

/** Keys of the whole blocks of a text, whose every letter stands for 16 tokens. */
function keysOf(text: string, numGroups = 1): ContentKeys {
  const keys = Array.from(text, (_, i) => text.slice(0, i + 1));
  return Array.from({ length: numGroups }, () => keys);
}

/** Admits a sequence with whatever is cached, and computes and publishes all of it. */
function run(blocks: GroupManager, id: number, text: string, numTokens: number, numGroups = 1) {
  const keys = keysOf(text, numGroups);
  const hit = blocks.match(keys, numTokens);
  const admission = blocks.tryAdmit(id, { numTokens, hit });
  if (admission === undefined) return undefined;
  blocks.finishCopies(blocks.takeCopies());
  const count = numTokens - hit.numTokens;
  blocks.dispatch(id, count);
  blocks.publish(id, keys);
  blocks.settle(id, count);
  blocks.checkIntegrity();
  return hit;
}

function tables(blocks: GroupManager, id: number, numGroups: number): number[][] {
  return Array.from({ length: numGroups }, (_, group) => [...blocks.blockTable(id, group)]);
}

Deno.test("S9: GroupManager with one group shares, frees tail first and evicts in that order", () => {
  const { blocks, evicted } = manager([fullGroup(16)], 10);
  assertEquals(run(blocks, 0, "abc", 55)?.numTokens, 0);
  assertEquals(tables(blocks, 0, 1), [[0, 1, 2, 3]]);
  assertEquals(run(blocks, 1, "abc", 53)?.numTokens, 48);
  assertEquals(tables(blocks, 1, 1), [[0, 1, 2, 4]]);
  assertEquals(blocks.numAvailableSlabs, 5);
  blocks.free(0);
  blocks.free(1);
  assertEquals(run(blocks, 2, "abc", 54)?.numTokens, 48);
  assertEquals(tables(blocks, 2, 1), [[0, 1, 2, 4]]);
  blocks.free(2);
  assertEquals(run(blocks, 3, "9999999999", 160)?.numTokens, 0);
  assertEquals(tables(blocks, 3, 1), [[4, 3, 5, 6, 7, 8, 9, 2, 1, 0]]);
  assertEquals(evicted, [[0, "abc"], [0, "ab"], [0, "a"]]);
});

Deno.test("S13: GroupManager forgets the content of a block that is used again", () => {
  const { blocks } = manager([fullGroup(16)], 1);
  run(blocks, 0, "a", 16);
  blocks.free(0);
  run(blocks, 1, "", 15);
  blocks.free(1);
  assertEquals(blocks.match(keysOf("a"), 17).numTokens, 0);
});

Deno.test("S16: GroupManager.tryAdmit() that does not fit beside its own hits changes nothing", () => {
  const { blocks, evicted } = manager([fullGroup(16)], 10);
  run(blocks, 0, "abc", 48);
  run(blocks, 1, "abcdef", 96);
  blocks.free(1);
  run(blocks, 2, "xy", 32);
  assertEquals(blocks.numAvailableSlabs, 5);
  const hit = blocks.match(keysOf("abcdefghi"), 144);
  assertEquals(hit.numTokens, 96);
  const before = blocks.usage();
  assertEquals(blocks.tryAdmit(3, { numTokens: 144, hit }), undefined);
  assertEquals([blocks.usage(), evicted], [before, []]);
  assertEquals(blocks.match(keysOf("abcdefghi"), 144), hit);
  blocks.checkIntegrity();
});

Deno.test("S15: GroupManager without keys caches nothing", () => {
  const { blocks } = manager([fullGroup(4)], 4);
  blocks.tryAdmit(1, { numTokens: 10 });
  blocks.free(1);
  blocks.tryAdmit(2, { numTokens: 16 });
  assertEquals(blocks.blockTable(2, 0).length, 4);
  assertEquals(blocks.tryAdmit(3, { numTokens: 4 }), undefined);
});

Deno.test("S7: GroupManager keeps the same key apart in each group", () => {
  const { blocks } = manager([fullGroup(16), fullGroup(16)], 20);
  const [keys] = keysOf("abc");
  blocks.tryAdmit(0, { numTokens: 56 });
  blocks.dispatch(0, 56);
  blocks.publish(0, [keys!.slice(0, 2), keys!]);
  const { groupTokens, numTokens } = blocks.match([keys!, keys!], 56);
  assertEquals([groupTokens, numTokens], [[32, 48], 32]);
});

Deno.test("S48: GroupManager gives full attention and two windows a shared prefix and own blocks", () => {
  const groups = [fullGroup(16), windowGroup(16, 32), windowGroup(16, 32)];
  const { blocks } = manager(groups, 20);
  const keys = keysOf("abc", 3);
  blocks.tryAdmit(0, { numTokens: 55 });
  assertEquals(tables(blocks, 0, 3), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]);
  blocks.dispatch(0, 55);
  blocks.publish(0, keys);
  const hit = blocks.match(keys, 53);
  assertEquals(hit.numTokens, 48);
  assertEquals(hit.blocks, [[0, 1, 2], [NO_BLOCK, 5, 6], [NO_BLOCK, 9, 10]]);
  blocks.tryAdmit(1, { numTokens: 53, hit });
  assertEquals(tables(blocks, 1, 3), [
    [0, 1, 2, 12],
    [NO_BLOCK, 5, 6, 13],
    [NO_BLOCK, 9, 10, 14],
  ]);
  blocks.settle(0, 55);
  assertEquals(tables(blocks, 0, 3)[1], [NO_BLOCK, 5, 6, 7], "[0, 24) is dead");
  blocks.free(0);
  blocks.free(1);
  blocks.checkIntegrity();
  assertEquals(blocks.numAvailableSlabs, 20);
});

Deno.test("S39: GroupManager frees a window's dead blocks when no step in flight reads them", () => {
  const { blocks } = manager([windowGroup(16, 16)], 20);
  blocks.tryAdmit(0, { numTokens: 100 });
  blocks.dispatch(0, 100);
  blocks.tryExtend(0, 101);
  blocks.dispatch(0, 1);
  assertEquals([blocks.numAvailableSlabs, blocks.blockTable(0, 0).includes(NO_BLOCK)], [13, false]);
  blocks.settle(0, 100);
  assertEquals(blocks.blockTable(0, 0).filter((id) => id === NO_BLOCK).length, 5);
  assertEquals(blocks.numAvailableSlabs, 18);
  blocks.settle(0, 1);
  assertEquals(blocks.numAvailableSlabs, 18, "none is freed twice");
  assertThrows(() => blocks.settle(0, 1), InvariantError, "1 positions settle, 0 are in flight");
});

Deno.test("S39: GroupManager frees 6 blocks left of the chunk of 32 that position 100 is in", () => {
  const { blocks } = manager([chunkGroup(16, 32)], 20);
  blocks.tryAdmit(0, { numTokens: 100 });
  blocks.dispatch(0, 100);
  blocks.settle(0, 100);
  assertEquals(blocks.blockTable(0, 0).filter((id) => id === NO_BLOCK).length, 6);
});

Deno.test("S40: GroupManager.fits() counts a window by what it holds at once", () => {
  const groups = [fullGroup(16), windowGroup(16, 64)];
  const { blocks } = manager(groups, 77, 128);
  assertEquals([blocks.fits(512), blocks.fits(1024), blocks.fits(1040)], [true, true, false]);
  assert(blocks.tryAdmit(0, { numTokens: 512 }) !== undefined);
  assertEquals(tables(blocks, 0, 2).map((table) => table.length), [32, 13]);
  assertEquals(manager(groups, 4, 128).blocks.fits(256), false);
});

Deno.test("GroupManager runs a long prompt through a window in the blocks it was admitted with", () => {
  const { blocks } = manager([windowGroup(16, 64)], 8, 32);
  assert(blocks.fits(10_000));
  blocks.tryAdmit(0, { numTokens: 10_000 });
  assertEquals(blocks.numAvailableSlabs, 1);
  for (let end = 32; end <= 9984; end += 32) {
    assert(blocks.tryExtend(0, end), `no room at ${end}`);
    blocks.dispatch(0, 32);
    blocks.settle(0, 32);
  }
  blocks.checkIntegrity();
});

Deno.test("S88: GroupManager.free() withholds blocks until the last step in flight is back", () => {
  const { blocks } = manager([fullGroup(16)], 10);
  blocks.tryAdmit(0, { numTokens: 35 });
  blocks.dispatch(0, 33);
  blocks.dispatch(0, 1);
  blocks.dispatch(0, 1);
  blocks.free(0);
  assertEquals([blocks.numAvailableSlabs, blocks.numSequences], [7, 1]);
  assertThrows(() => blocks.free(0), InvariantError, "sequence 0 is freed twice");
  assertThrows(() => blocks.dispatch(0, 1), InvariantError, "sequence 0 has ended");
  blocks.settle(0, 33);
  blocks.settle(0, 1);
  assertEquals(blocks.numAvailableSlabs, 7);
  blocks.settle(0, 1);
  assertEquals([blocks.numAvailableSlabs, blocks.numSequences], [10, 0]);
});

Deno.test("S27: GroupManager.publish() passes over blocks that have died", () => {
  const { blocks } = manager([windowGroup(1, 1)], 4);
  blocks.tryAdmit(0, { numTokens: 4 });
  blocks.dispatch(0, 2);
  blocks.settle(0, 2);
  blocks.dispatch(0, 2);
  blocks.publish(0, keysOf("abcd"));
  assertEquals(blocks.usage().cachedBytes, 0);
  blocks.free(0);
  blocks.settle(0, 2);
  assertEquals(blocks.usage().cachedBytes, 8, "c and d, not the dead a and b");
  blocks.checkIntegrity();
});

Deno.test("GroupManager evicts a prefix in all groups at one age, the deepest block first", () => {
  const { blocks, evicted } = manager([fullGroup(16), windowGroup(16, 64)], 8);
  run(blocks, 0, "ab", 32, 2);
  run(blocks, 1, "xy", 32, 2);
  blocks.free(1);
  assertEquals(blocks.lastUsed(0, "a"), undefined, "in use");
  blocks.free(0);
  const ages = ["xy", "x", "ab", "a"].map((
    key,
  ) => [blocks.lastUsed(0, key), blocks.lastUsed(1, key)]);
  const [first, , second] = ages;
  assertEquals(first![1]! < second![0]!, true, "one clock for all");
  for (const [i, age] of ages.entries()) {
    assertEquals(age, Array(2).fill((i < 2 ? first : second)![0]));
  }
  blocks.tryAdmit(2, { numTokens: 64 });
  const ofGroups = (key: string): [number, ContentKey][] => [[0, key], [1, key]];
  assertEquals(evicted, ["xy", "x", "ab", "a"].flatMap(ofGroups));
});

Deno.test("GroupManager evicts what a hit did not use before what it did", () => {
  const { blocks, evicted } = manager([fullGroup(16)], 6);
  run(blocks, 0, "ab", 32);
  run(blocks, 1, "xy", 32);
  blocks.free(0);
  blocks.free(1);
  run(blocks, 2, "ab", 40);
  blocks.free(2);
  blocks.tryAdmit(3, { numTokens: 64 });
  assertEquals(evicted, [[0, "xy"], [0, "x"]]);
});

Deno.test("S111: GroupManager.match() of a long prefix keeps only the window's end young", () => {
  const { blocks, evicted } = manager([fullGroup(16), windowGroup(16, 32)], 12);
  run(blocks, 0, "abc", 48, 2);
  run(blocks, 1, "x", 16, 2);
  for (const id of [0, 1]) blocks.free(id);
  run(blocks, 2, "abc", 49, 2);
  blocks.free(2);
  // 4 of 12 blocks are free; the fifth is the window's block that the hit passed over.
  blocks.tryAdmit(3, { numTokens: 32 });
  assertEquals(evicted, []);
  assert(blocks.tryExtend(3, 33));
  assertEquals(evicted, [[1, "a"], [0, "x"]]);
});

Deno.test("S55: GroupManager holds one state for 55 tokens", () => {
  const { blocks } = manager([fullGroup(16), stateGroup(16)], 10);
  blocks.tryAdmit(0, { numTokens: 55 });
  assertEquals(tables(blocks, 0, 2).map((table) => table.length), [4, 1]);
});

Deno.test("GroupManager finds a prefix again whenever it is computed again after an eviction", () => {
  const { blocks } = manager([fullGroup(16), windowGroup(16, 32)], 12);
  for (let round = 0; round < 3; round++) {
    run(blocks, 2 * round, "abc", 49, 2);
    blocks.free(2 * round);
    assertEquals(blocks.match(keysOf("abc", 2), 49).numTokens, 48);
    run(blocks, 2 * round + 1, "123456", 96, 2);
    blocks.free(2 * round + 1);
    assertEquals(blocks.match(keysOf("abc", 2), 49).numTokens, 0);
  }
});

Deno.test("GroupManager names what it cannot do", () => {
  const { blocks } = manager([fullGroup(16)], 4);
  blocks.tryAdmit(0, { numTokens: 16 });
  assertThrows(() => blocks.tryAdmit(0, { numTokens: 1 }), InvariantError, "block tables already");
  assertThrows(() => blocks.dispatch(0, 17), InvariantError, "no blocks for 17 positions");
  assertThrows(() => blocks.free(7), InvariantError, "sequence 7 has no block tables");
  assertEquals(blocks.tryExtend(0, 65), false);
  assertThrows(() => manager([fullGroup(0)], 4), RangeError, "group full: tokensPerBlock");
});

Deno.test("GroupManager.tryAdmit() leaves the watermark to those that run", () => {
  const groups = [fullGroup(16)];
  const options = { groups, poolBytes: 40, maxInFlightTokens: 64, numWatermarkSlabs: 3 };
  const blocks = new GroupManager(options);
  assert(blocks.tryAdmit(0, { numTokens: 64 }) !== undefined);
  assertEquals(blocks.tryAdmit(1, { numTokens: 64 }), undefined);
  assert(blocks.tryAdmit(1, { numTokens: 48 }) !== undefined);
  assert(blocks.tryExtend(0, 112), "growth may use the watermark");
  blocks.free(0);
  blocks.free(1);
  assert(blocks.tryAdmit(2, { numTokens: 160 }) !== undefined, "one alone may have all");
});

import { assert, assertEquals } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import { FULL, STATE, windowOf } from "../support/kv_groups.ts";
import { KEY_SPACE } from "../support/scheduler_rig.ts";

const BLOCK_SIZE = 4;

function managerOf(groups: readonly CacheSpec[], numBlocks: number, blocksPerSlab?: number[]) {
  return new BlockManager({
    groups,
    numBlocks,
    blocksPerSlab: blocksPerSlab ?? groups.map(() => 1),
    blockSize: BLOCK_SIZE,
    maxInFlightTokens: 8,
    numWatermarkBlocks: 0,
    prefixCache: { keySpace: KEY_SPACE },
  });
}

/** `count` tokens that no other `seed` has. */
function tokensOf(seed: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => 1000 * seed + i);
}

/** Computes a sequence up to `end`, in chunks that end where they are to; copies are made. */
function compute(
  blocks: BlockManager,
  id: number,
  { tokens, from, end, chunkEnds }: {
    tokens: Uint32Array;
    from: number;
    end: number;
    chunkEnds: readonly number[];
  },
): void {
  for (let at = from; at < end;) {
    const stop = chunkEnds.find((position) => position > at) ?? Infinity;
    const next = Math.min(end, at + 8, stop);
    assert(blocks.tryExtend(id, next), `no blocks for ${next} positions`);
    blocks.takeCopies();
    blocks.markCopied();
    blocks.markComputed(id, tokens, next);
    blocks.checkIntegrity();
    at = next;
  }
}

/** Admits and computes a whole prompt; returns how much of it was found. */
function serve(blocks: BlockManager, id: number, tokens: Uint32Array): number {
  const admission = blocks.tryAdmit(id, tokens);
  assert(admission !== undefined, `sequence ${id} does not fit`);
  const { numCachedTokens: from, chunkEnds } = admission;
  compute(blocks, id, { tokens, from, end: tokens.length, chunkEnds });
  return from;
}

Deno.test("BlockManager keeps the tail of a window and all of full attention", () => {
  const blocks = managerOf([FULL, windowOf(8)], 40);
  serve(blocks, 1, tokensOf(1, 41));
  // 11 blocks of full attention, and of the window the two before position 40 and the last.
  assertEquals(blocks.numInUse, 11 + 3);
  blocks.free(1);
  assertEquals([blocks.numIdle, blocks.numInUse], [10 + 2, 0]);
  assertEquals(blocks.numTokensCached(tokensOf(1, 41)), 40);
  assertEquals(blocks.numTokensCached(tokensOf(1, 39)), 0, "no tail is kept before");
});

Deno.test("BlockManager evicts what is idle on the path of a sequence after everything else", () => {
  for (const other of [STATE, windowOf(8)]) {
    const blocks = managerOf([FULL, other], 40);
    const prompt = tokensOf(1, 21);
    serve(blocks, 1, prompt);
    blocks.free(1);
    // It goes on from what is kept at 20, and soon needs that no more.
    const long = Uint32Array.of(...prompt, ...tokensOf(7, 12));
    assertEquals(serve(blocks, 2, long), 20);
    for (let id = 3; id < 12; id++) {
      serve(blocks, id, tokensOf(id, 21));
      blocks.free(id);
    }
    assert(blocks.numEvicted > 20, `only ${blocks.numEvicted} evicted`);
    assertEquals(blocks.numTokensCached(prompt), 20, "its KV does not outlive what goes with it");
  }
});

Deno.test("BlockManager loses nothing of what either of two cold twins has published", () => {
  for (const other of [STATE, windowOf(8)]) {
    const blocks = managerOf([FULL, other], 48);
    const [prompt, long] = [tokensOf(1, 21), tokensOf(1, 41)];
    const chunkEnds = blocks.tryAdmit(1, prompt)!.chunkEnds;
    const twin = blocks.tryAdmit(2, long)!;
    assertEquals(twin.numCachedTokens, 0, "both are cold");
    compute(blocks, 1, { tokens: prompt, from: 0, end: 21, chunkEnds });
    compute(blocks, 2, { tokens: long, from: 0, end: 36, chunkEnds: twin.chunkEnds });
    blocks.free(1);
    // The first's blocks are nobody's now: those of the second take their place.
    compute(blocks, 2, { tokens: long, from: 36, end: 41, chunkEnds: twin.chunkEnds });
    for (let id = 3; id < 9; id++) {
      serve(blocks, id, tokensOf(id, 41));
      blocks.free(id);
    }
    assert(blocks.numEvicted > 20, `only ${blocks.numEvicted} evicted`);
    assertEquals(blocks.numTokensCached(long), 40);
    blocks.free(2);
    assertEquals(blocks.numTokensCached(long), 40);
    blocks.checkIntegrity();
  }
});

Deno.test("BlockManager admits a prompt longer than its window with no more than it holds at once", () => {
  const blocks = managerOf([windowOf(8)], 5);
  assertEquals(blocks.numSlabsOf(1000), 5);
  assertEquals(serve(blocks, 1, tokensOf(1, 200)), 0);
  assertEquals(blocks.numPoolTokens, Infinity);
  blocks.free(1);
  assertEquals(blocks.numTokensCached(tokensOf(1, 200)), 196);
});

Deno.test("BlockManager keeps a sequence's own state where it ends on a block boundary", () => {
  const blocks = managerOf([FULL, STATE], 20);
  const tokens = tokensOf(1, 24);
  serve(blocks, 1, tokens);
  assertEquals(blocks.takeCopies().length, 1, "it may go on, so its state is copied");
  blocks.markCopied();
  blocks.free(1);
  assertEquals(blocks.numTokensCached(tokensOf(1, 25)), 24);
  const again = managerOf([FULL, STATE], 20);
  serve(again, 1, tokens);
  again.free(1);
  assertEquals(again.takeCopies(), [], "nothing goes on from it, so nothing is copied");
  assertEquals([again.numTokensCached(tokensOf(1, 25)), again.numInUse], [24, 0]);
});

Deno.test("BlockManager counts slabs where groups cut them, and names blocks as the device does", () => {
  const blocks = managerOf([FULL, windowOf(8)], 10, [4, 2]);
  assertEquals([blocks.numBlocks, blocks.numSlabsOf(32)], [10, 2 + 3]);
  serve(blocks, 1, tokensOf(1, 16));
  const [full, window] = blocks.blockTables(1);
  assertEquals([full, blocks.numInUse], [[0, 1, 2, 3], 2]);
  assert(window!.every((id) => id < 20), `blocks of the window: ${window}`);
  assertEquals(blocks.blockTables(1)[0] === full, true, "the same list until it changes");
  blocks.free(1);
  assertEquals(blocks.numInUse, 0);
});

Deno.test("a sequence that is alone does without a state that is found where both do not fit", () => {
  const blocks = managerOf([FULL, STATE], 6);
  const tokens = tokensOf(1, 4 * BLOCK_SIZE + 1);
  serve(blocks, 1, tokens.subarray(0, BLOCK_SIZE + 1));
  blocks.free(1);
  assert(blocks.numTokensCached(tokens) > 0, "there is a state to be found");
  assertEquals(blocks.numSlabsOf(tokens.length), blocks.numBlocks);
  const admission = blocks.tryAdmit(2, tokens);
  assertEquals(admission?.numCachedTokens, 0);
  blocks.checkIntegrity();
});

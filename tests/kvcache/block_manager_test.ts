import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { SequenceId } from "../../src/core/ids.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { KEY_SPACE } from "../support/scheduler_rig.ts";
import { runs } from "../support/runs.ts";

/** `count` tokens of which the values do not matter. */
function tokens(count: number): Uint32Array {
  return new Uint32Array(count);
}

Deno.test("BlockManager.tryAdmit() covers the tokens, the last block perhaps in part", () => {
  const blocks = new BlockManager({ numBlocks: 8, blockSize: 4 });
  assertEquals(blocks.tryAdmit(7, tokens(9)), {
    numCachedTokens: 0,
    numEvictedTokens: 0,
    isLookup: false,
    copies: [],
    chunkEnds: [],
    missingInputs: [],
  });
  assertEquals(blocks.blockTables(7)[0]!, [0, 1, 2]);
  assertEquals([blocks.numFree, blocks.numSequences], [5, 1]);
});

Deno.test("BlockManager.tryAdmit() changes nothing when the tokens do not fit", () => {
  const blocks = new BlockManager({ numBlocks: 4, blockSize: 2 });
  blocks.tryAdmit(1, tokens(5));
  assertEquals(blocks.tryAdmit(2, tokens(3)), undefined);
  assertEquals([blocks.numFree, blocks.numSequences], [1, 1]);
  blocks.checkIntegrity();
});

Deno.test("BlockManager.tryAdmit() keeps the watermark free for running sequences", () => {
  const decisions: KvDecision[] = [];
  const onDecision = (decision: KvDecision) => decisions.push(decision);
  const sizes = { numBlocks: 10, blockSize: 1, numWatermarkBlocks: 3 };
  const blocks = new BlockManager({ ...sizes, onDecision });
  blocks.tryAdmit(1, tokens(4));
  assertEquals(blocks.tryAdmit(2, tokens(4)), undefined);
  const numbers = { numNeeded: 4, numFree: 6, numEvictable: 0, numHeadroomSlabs: 3 };
  assertEquals(decisions.at(-1), { type: "wait", sequenceId: 2, reason: "blocks", ...numbers });
  assert(blocks.tryAdmit(2, tokens(3)));
  assert(blocks.tryExtend(1, 7), "growth may use the watermark's blocks");
});

Deno.test("BlockManager.tryAdmit() gives the whole pool to a sequence that is alone", () => {
  const blocks = new BlockManager({ numBlocks: 10, blockSize: 1, numWatermarkBlocks: 3 });
  assertEquals(blocks.tryAdmit(1, tokens(11)), undefined);
  assert(blocks.tryAdmit(1, tokens(10)));
});

Deno.test("BlockManager keeps one percent of the pool as watermark by default", () => {
  const blocks = new BlockManager({ numBlocks: 200, blockSize: 1 });
  blocks.tryAdmit(1, tokens(1));
  assertEquals(blocks.tryAdmit(2, tokens(198)), undefined);
  assert(blocks.tryAdmit(2, tokens(197)));
});

Deno.test("BlockManager.tryExtend() appends blocks only at a block boundary", () => {
  const blocks = new BlockManager({ numBlocks: 3, blockSize: 2 });
  blocks.tryAdmit(1, tokens(3));
  assert(blocks.tryExtend(1, 4));
  assertEquals(blocks.blockTables(1)[0]!, [0, 1]);
  assert(blocks.tryExtend(1, 5));
  assertEquals(blocks.blockTables(1)[0]!, [0, 1, 2]);
  assertEquals(blocks.tryExtend(1, 7), false);
  assertEquals(blocks.blockTables(1)[0]!, [0, 1, 2]);
});

Deno.test("BlockManager.blockTables() gives lists that growth, a resize and the end leave as they are", () => {
  const blocks = new BlockManager({ numBlocks: 8, blockSize: 2 });
  blocks.tryAdmit(1, tokens(4));
  blocks.tryAdmit(2, tokens(3));
  blocks.free(1);
  const planned = blocks.blockTables(2)[0]!;
  assert(blocks.tryExtend(2, 4));
  assertEquals(blocks.blockTables(2)[0]! === planned, true, "without growth it is not made anew");
  assert(blocks.tryExtend(2, 5));
  const grown = blocks.blockTables(2)[0]!;
  blocks.resize(3);
  const moved = blocks.blockTables(2)[0]!;
  blocks.free(2);
  assertEquals([planned, grown.length, moved.length], [[2, 3], 3, 3]);
  assertEquals(grown.slice(0, 2), planned);
  assert(Math.max(...grown) >= 3 && Math.max(...moved) < 3, `${grown} moved to ${moved}`);
});

Deno.test("BlockManager.free() returns the blocks and leaves a plan's table as it was", () => {
  const blocks = new BlockManager({ numBlocks: 3, blockSize: 2 });
  blocks.tryAdmit(1, tokens(6));
  const table = blocks.blockTables(1)[0]!;
  blocks.free(1);
  assertEquals(blocks.numFree, 3);
  assertEquals(table, [0, 1, 2]);
  assertThrows(() => blocks.free(1), InvariantError, "sequence 1 has no block table");
});

Deno.test("BlockManager.tryFork() shares whole blocks and has the rest copied", () => {
  const blocks = new BlockManager({ numBlocks: 8, blockSize: 4 });
  blocks.tryAdmit(1, tokens(11));
  const admission = blocks.tryFork(2, { source: 1, numTokens: 11 });
  assertEquals(blocks.blockTables(2)[0]!, [0, 1, 3]);
  const copies = [{ group: 0, from: 2, to: 3, numTokens: 2 }];
  assertEquals(admission, {
    numCachedTokens: 10,
    numEvictedTokens: 0,
    isLookup: false,
    copies,
    chunkEnds: [],
    missingInputs: [],
  });
  blocks.checkIntegrity();
  blocks.markCopied();
  blocks.free(1);
  assertEquals(blocks.numFree, 5, "the shared blocks stay for the fork");
  blocks.free(2);
  assertEquals(blocks.numFree, 8);
});

Deno.test("BlockManager.tryFork() changes nothing when the fork does not fit", () => {
  const blocks = new BlockManager({ numBlocks: 3, blockSize: 4 });
  blocks.tryAdmit(1, tokens(11));
  assertEquals(blocks.tryFork(2, { source: 1, numTokens: 11 }), undefined);
  assertEquals([blocks.numFree, blocks.numSequences], [0, 1]);
  blocks.markCopied();
  blocks.checkIntegrity();
});

for (
  const [title, caching] of [["without", {}], ["with", {
    prefixCache: { keySpace: KEY_SPACE },
  }]] as const
) {
  Deno.test(`BlockManager keeps the source of a copy until it is carried out, ${title} a cache`, () => {
    const blocks = new BlockManager({ numBlocks: 8, blockSize: 4, ...caching });
    blocks.tryAdmit(1, tokens(12));
    blocks.markComputed(1, tokens(12), 12);
    const [copy] = blocks.tryFork(2, { source: 1, numTokens: 12 })!.copies;
    blocks.free(1);
    blocks.free(2);
    blocks.checkIntegrity();
    assertEquals(blocks.numInUse, 3);
    blocks.tryAdmit(3, tokens(20).fill(9));
    assertEquals(blocks.blockTables(3)[0]!.includes(copy!.from), false);
    blocks.markCopied();
    blocks.free(3);
    blocks.checkIntegrity();
    assertEquals(blocks.numInUse, 0);
  });
}

Deno.test("BlockManager.resize() moves what stays below the new end, sources of copies among it", () => {
  const blocks = new BlockManager({
    numBlocks: 8,
    blockSize: 4,
    prefixCache: { keySpace: KEY_SPACE },
  });
  blocks.tryAdmit(1, tokens(12));
  const source = Uint32Array.of(1, 2, 3, 4, 5, 6);
  blocks.tryAdmit(2, source);
  blocks.markComputed(2, source, 6);
  blocks.tryFork(3, { source: 2, numTokens: 7 });
  assertEquals([1, 2, 3].map((id) => [...blocks.blockTables(id)[0]!]), [[0, 1, 2], [3, 4], [3, 5]]);
  blocks.free(1);
  // The copy of the forked block is under way, and its source still held.
  blocks.free(2);
  const { moves, ...counts } = blocks.resize(4);
  assertEquals(counts, { numBefore: 8, numAfter: 4, numEvicted: 0 });
  assertEquals(moves, [{ group: 0, from: 4, to: 0 }, { group: 0, from: 5, to: 1 }]);
  assertEquals(blocks.blockTables(3)[0]!, [3, 1]);
  blocks.checkIntegrity();
  blocks.markCopied();
  blocks.checkIntegrity();
  assertEquals([blocks.numFree, blocks.numInUse], [2, 2]);
  // The first block is still found, under whichever id.
  assertEquals(blocks.tryAdmit(4, source)?.numCachedTokens, 4);
});

Deno.test("BlockManager.resize() refuses a size below what is in use, and changes nothing", () => {
  const blocks = new BlockManager({ numBlocks: 8, blockSize: 1 });
  blocks.tryAdmit(1, tokens(5));
  const { data } = assertThrows(() => blocks.resize(4), RequestError, "5 of its 8 are in use");
  assertEquals([data.status, data.code, data.details], [409, "kv_pool_in_use", {
    n_blocks: 4,
    n_in_use: 5,
    n_pinned: 0,
  }]);
  assertEquals([blocks.numBlocks, blocks.numFree], [8, 3]);
  assertEquals(blocks.resize(5).moves, []);
  assertEquals(blocks.tryExtend(1, 6), false);
  blocks.resize(9);
  assertEquals([blocks.tryExtend(1, 9), blocks.tryExtend(1, 10)], [true, false]);
});

Deno.test("BlockManager.resize() keeps pins within their share, and evicts in order, telling it", () => {
  const removed: string[] = [];
  const stored: string[] = [];
  const blocks = new BlockManager({
    numBlocks: 12,
    blockSize: 1,
    prefixCache: {
      keySpace: KEY_SPACE,
      listener: {
        stored: ({ key }) => stored.push(key),
        removed: ({ keys }) => removed.push(...keys),
        used: () => {},
        cleared: () => {},
      },
    },
  });
  for (const [id, prompt] of [[1, [1, 2, 3]], [2, [4, 5]], [3, [6, 7, 8]]] as const) {
    const ids = Uint32Array.from(prompt);
    blocks.tryAdmit(id, ids);
    blocks.markComputed(id, ids, ids.length);
    blocks.free(id);
  }
  blocks.pins!.pin("kept", "", Uint32Array.of(4, 5));
  const { data } = assertThrows(() => blocks.resize(3), RequestError, "2 are pinned");
  assertEquals([data.status, data.details?.n_pinned, removed, blocks.numBlocks], [409, 2, [], 12]);
  assertEquals(blocks.resize(4).numEvicted, 4);
  // The least recently used prompt goes first, its last block before its first.
  assertEquals(removed, [stored[2], stored[1], stored[0], stored[7]]);
  assertEquals([blocks.pins!.maxNumBlocks, blocks.numEvicted], [2, 4]);
  const find = (...prompt: number[]) => blocks.numTokensCached(Uint32Array.from(prompt));
  assertEquals([find(1, 2, 3), find(4, 5, 9), find(6, 7, 8, 9)], [0, 2, 2]);
  blocks.checkIntegrity();
});

Deno.test("BlockManager tells every decision with its numbers", () => {
  const decisions: KvDecision[] = [];
  const blocks = new BlockManager({
    numBlocks: 4,
    blockSize: 2,
    numWatermarkBlocks: 0,
    prefixCache: { keySpace: KEY_SPACE },
    onDecision: (decision) => decisions.push(decision),
  });
  const told = () => decisions.splice(0).map(({ type, ...rest }) => [type, ...Object.values(rest)]);
  blocks.tryAdmit(1, Uint32Array.of(1, 2, 3, 4));
  assertEquals(told(), [["allocate", 1, 2], ["admit", 1, 4, 0]]);
  blocks.markComputed(1, Uint32Array.of(1, 2, 3, 4), 4);
  blocks.free(1, "preempt");
  assertEquals(told(), [["preempt", 1, 2]]);
  blocks.tryAdmit(2, Uint32Array.of(1, 2, 7));
  assertEquals(told(), [["hit", 2, 1], ["allocate", 2, 1], ["admit", 2, 3, 2]]);
  blocks.tryAdmit(3, Uint32Array.of(1, 2, 7, 7, 7, 7, 7, 7));
  assertEquals(told(), [["wait", 3, "blocks", 3, 1, 1]]);
  blocks.tryExtend(2, 8);
  assertEquals(told(), [["evict", 2, 1], ["allocate", 2, 2]]);
  blocks.free(2);
  assertEquals(told(), [["free", 2, 4]]);
});

Deno.test("BlockManager agrees with a map of lengths under any history", () => {
  const step = fc.record({
    verb: fc.constantFrom("admit", "extend", "free"),
    id: fc.nat(3),
    numTokens: fc.integer({ min: 1, max: 20 }),
  });
  const sizes = fc.record({
    numBlocks: fc.integer({ min: 1, max: 16 }),
    blockSize: fc.integer({ min: 1, max: 3 }),
    numWatermarkBlocks: fc.nat(2),
  });
  fc.assert(
    fc.property(sizes, fc.array(step, { maxLength: 60 }), (options, history) => {
      const blocks = new BlockManager(options);
      const lengths = new Map<SequenceId, number>();
      const blocksOf = (numTokens: number) => Math.ceil(numTokens / options.blockSize);
      for (const { verb, id, numTokens } of history) {
        const numHeld = [...lengths.values()].reduce((sum, n) => sum + blocksOf(n), 0);
        const numFree = options.numBlocks - numHeld;
        const length = lengths.get(id);
        if (verb === "admit" && length === undefined) {
          const numHeadroomSlabs = lengths.size === 0 ? 0 : options.numWatermarkBlocks;
          const fits = blocksOf(numTokens) <= numFree - numHeadroomSlabs;
          assertEquals(blocks.tryAdmit(id, tokens(numTokens)) !== undefined, fits);
          if (fits) lengths.set(id, numTokens);
        }
        if (verb === "extend" && length !== undefined) {
          const longer = Math.max(length, numTokens);
          const fits = blocksOf(longer) - blocksOf(length) <= numFree;
          const before = [...blocks.blockTables(id)[0]!];
          assertEquals(blocks.tryExtend(id, numTokens), fits);
          if (fits) lengths.set(id, longer);
          assertEquals(blocks.blockTables(id)[0]!.slice(0, before.length), before);
        }
        if (verb === "free" && length !== undefined) {
          blocks.free(id);
          lengths.delete(id);
        }
        blocks.checkIntegrity();
        const tables = [...lengths.keys()].map((key) => blocks.blockTables(key)[0]!);
        assertEquals(tables.map((t) => t.length), [...lengths.values()].map(blocksOf));
        assertEquals(new Set(tables.flat()).size, tables.flat().length, "a block in two tables");
        assertEquals(blocks.numFree, options.numBlocks - tables.flat().length);
      }
    }),
    { seed: 3, numRuns: runs(300) },
  );
});

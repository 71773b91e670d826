import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import type { BlockId } from "../../src/core/ids.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import { BlockKeyer } from "../../src/kvcache/prefix/block_key.ts";
import { encoderOf, FULL } from "../support/kv_groups.ts";
import { KEY_SPACE } from "../support/scheduler_rig.ts";

const ENCODER = 1;
const IMAGE = { key: "image", numTokens: 10, placeholderEnd: 8 };
const TOKENS = Uint32Array.from({ length: 64 }, (_, i) => i);
const NO_TOKENS = new Uint32Array();

/** A manager with blocks of 4 positions, and the events that it tells. */
function managerOf(
  lifetime: "sequence" | "placeholders",
  numBlocks: number,
  { isCached = true, blocksPerSlab = [1, 1] } = {},
) {
  const events: string[] = [];
  const decisions: KvDecision[] = [];
  const listener = {
    stored: ({ key, group }: { key: string; group: number }) =>
      events.push(`stored ${key} in ${group}`),
    removed: ({ keys, group }: { keys: readonly string[]; group: number }) =>
      events.push(`removed ${keys} in ${group}`),
    used: () => {},
    cleared: () => events.push("cleared"),
  };
  const blocks = new BlockManager({
    groups: [FULL, encoderOf(lifetime)],
    numBlocks,
    blocksPerSlab,
    blockSize: 4,
    maxInFlightTokens: 16,
    numWatermarkBlocks: 0,
    onDecision: (decision) => decisions.push(decision),
    ...(isCached ? { prefixCache: { keySpace: KEY_SPACE, listener } } : {}),
  });
  return { blocks, events, decisions };
}

/** Admits `numTokens` tokens with inputs; returns which outputs are missing. */
function admit(blocks: BlockManager, id: number, numTokens: number, inputs = [IMAGE]) {
  return blocks.tryAdmit(id, TOKENS.subarray(0, numTokens), { inputs })?.missingInputs;
}

/** The key under which listeners learn of an input. */
function eventKey(key: string, scope = ""): string {
  const keyer = new BlockKeyer(KEY_SPACE);
  return keyer.childKey(keyer.rootKey(scope), NO_TOKENS, [key]);
}

Deno.test("BlockManager computes an input once, counts its users and keeps it when they end", () => {
  const { blocks } = managerOf("sequence", 14);
  assertEquals(admit(blocks, 0, 16), ["image"]);
  assertEquals(admit(blocks, 1, 16), ["image"], "nobody finds what is not computed yet");
  blocks.free(1);
  blocks.publishInput(0, "image");
  blocks.publishInput(0, "image");
  assertEquals(admit(blocks, 1, 16), []);
  const held = blocks.inputBlocks(0, ENCODER, "image");
  assertEquals([held?.length, blocks.inputBlocks(1, ENCODER, "image")], [3, held]);
  assertEquals(blocks.numInUse, 4 + 4 + 3);
  blocks.free(0);
  assertEquals([blocks.numInUse, blocks.numIdle], [4 + 3, 0]);
  blocks.free(1);
  assertEquals([blocks.numInUse, blocks.numIdle], [0, 3]);
  blocks.checkIntegrity();
  blocks.clearCache();
  assertEquals([blocks.numIdle, blocks.numFree, blocks.numReset], [0, 14, 3]);
  assertEquals(admit(blocks, 2, 16), ["image"]);
});

Deno.test("BlockManager drops the output for an input whole, and tells it by one key", () => {
  const { blocks, events } = managerOf("sequence", 4);
  admit(blocks, 0, 1);
  blocks.publishInput(0, "image");
  blocks.free(0);
  assertEquals([blocks.numIdle, blocks.numFree], [3, 1]);
  assert(blocks.tryAdmit(1, TOKENS.subarray(0, 8)));
  assertEquals([blocks.numIdle, blocks.numFree, blocks.numEvicted], [0, 2, 3]);
  const key = eventKey("image");
  assertEquals(events, [`stored ${key} in 1`, `removed ${key} in 1`]);
  assertEquals(admit(blocks, 2, 1), undefined);
  blocks.checkIntegrity();
});

Deno.test("BlockManager frees embeddings when the placeholders they fill are computed", () => {
  for (const [lifetime, numHeld] of [["placeholders", 0], ["sequence", 3]] as const) {
    for (const isCached of [true, false]) {
      const { blocks } = managerOf(lifetime, 10, { isCached });
      admit(blocks, 0, 16);
      blocks.publishInput(0, "image");
      blocks.markComputed(0, TOKENS, 7);
      assertEquals(blocks.numInUse, 4 + 3, "a position still reads them");
      blocks.markComputed(0, TOKENS, 8);
      assertEquals(blocks.numInUse, 4 + numHeld, lifetime);
      const left = blocks.inputBlocks(0, ENCODER, "image");
      assertEquals(left?.length, numHeld === 0 ? undefined : 3);
      blocks.checkIntegrity();
      blocks.free(0);
      assertEquals(blocks.numInUse, 0);
    }
  }
});

Deno.test("BlockManager takes no block for an empty input, one entry for an input given twice", () => {
  const { blocks } = managerOf("placeholders", 10);
  const again = { ...IMAGE, placeholderEnd: 14 };
  const empty = { key: "empty", numTokens: 0, placeholderEnd: 2 };
  assertEquals(admit(blocks, 0, 16, [again, IMAGE, empty]), ["image"]);
  assertEquals(blocks.inputBlocks(0, ENCODER, "empty"), []);
  assertEquals(blocks.numInUse, 4 + 3);
  blocks.publishInput(0, "empty");
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 13);
  assertEquals(blocks.numInUse, 4 + 3, "its last placeholder is at 13");
  blocks.markComputed(0, TOKENS, 14);
  assertEquals(blocks.numInUse, 4);
  blocks.checkIntegrity();
});

Deno.test("BlockManager holds what it finds in all groups before any of them takes a block", () => {
  const { blocks, events } = managerOf("sequence", 9);
  const other = { key: "other", numTokens: 1, placeholderEnd: 10 };
  admit(blocks, 0, 9);
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 9);
  blocks.free(0);
  assertEquals(blocks.numIdle, 2 + 3);
  const before = events.length;
  // What is found is the oldest content of the pool, and all but what is free.
  assertEquals(admit(blocks, 1, 24, [IMAGE, other]), undefined);
  assertEquals([events.length, blocks.numIdle, blocks.numFree], [before, 5, 4]);
  assertEquals(admit(blocks, 1, 20), []);
  const ids: BlockId[] = [...blocks.blockTables(1)[0]!];
  ids.push(...blocks.inputBlocks(1, ENCODER, "image")!);
  assertEquals([ids.length, new Set(ids).size], [8, 8]);
  assertEquals(events.length, before, "nothing was evicted");
  blocks.checkIntegrity();
});

Deno.test("BlockManager finds a prefix only with the same inputs at the same places", () => {
  const { blocks } = managerOf("placeholders", 20);
  admit(blocks, 0, 13);
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 13);
  blocks.free(0);
  const cached = (inputs: typeof IMAGE[], scope = "") =>
    blocks.numTokensCached(TOKENS.subarray(0, 20), scope, inputs);
  assertEquals(cached([IMAGE]), 12);
  const others = [
    [],
    [{ ...IMAGE, key: "another" }],
    [{ ...IMAGE, placeholderEnd: 7 }],
    [IMAGE, { ...IMAGE, key: "another" }],
  ];
  assertEquals(others.map((inputs) => cached(inputs)), [0, 0, 0, 0]);
  assertEquals(cached([IMAGE], "salt"), 0);
});

Deno.test("BlockManager needs no embeddings for placeholders whose KV is cached", () => {
  const { blocks } = managerOf("placeholders", 20);
  admit(blocks, 0, 13);
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 13);
  blocks.free(0);
  assertEquals(admit(blocks, 1, 20), []);
  assertEquals(blocks.inputBlocks(1, ENCODER, "image"), undefined);
  assertEquals(blocks.numInUse, 5);
  assertEquals(blocks.canFork(1, 12), true);
  assertEquals(blocks.canFork(1, 7), false, "a fork would read them");
});

Deno.test("BlockManager keeps outputs of one scope from another", () => {
  const { blocks } = managerOf("sequence", 20);
  admit(blocks, 0, 4);
  blocks.publishInput(0, "image");
  const options = { inputs: [IMAGE], scope: "salt" };
  assertEquals(blocks.tryAdmit(1, TOKENS.subarray(0, 4), options)?.missingInputs, ["image"]);
  blocks.publishInput(1, "image");
  assertEquals(blocks.tryAdmit(2, TOKENS.subarray(0, 4), options)?.missingInputs, []);
  blocks.checkIntegrity();
});

Deno.test("BlockManager.tryFork() shares the inputs of its source, once their output is there", () => {
  const { blocks } = managerOf("sequence", 20);
  admit(blocks, 0, 12);
  blocks.markComputed(0, TOKENS, 4);
  assertEquals(blocks.canFork(0, 4), false);
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 8);
  const fork = blocks.tryFork(1, { source: 0, numTokens: 9 });
  assertEquals(fork?.missingInputs, []);
  const held = blocks.inputBlocks(0, ENCODER, "image");
  assertEquals([held?.length, blocks.inputBlocks(1, ENCODER, "image")], [3, held]);
  blocks.free(0);
  assertEquals(blocks.numInUse, 3 + 3);
  blocks.checkIntegrity();
  blocks.free(1, "preempt");
  assertEquals(blocks.numInUse, 0);
});

Deno.test("BlockManager.discard() forgets the outputs it made, and those read where it failed", () => {
  const { blocks } = managerOf("sequence", 20);
  admit(blocks, 0, 12);
  blocks.publishInput(0, "image");
  blocks.discard(0, TOKENS, 12);
  assertEquals([blocks.numIdle, blocks.numReset], [0, 3]);
  const embeddings = managerOf("placeholders", 20).blocks;
  admit(embeddings, 0, 12);
  embeddings.publishInput(0, "image");
  for (const [id, numSound, numLeft] of [[1, 8, 3], [2, 7, 0]] as const) {
    assertEquals(admit(embeddings, id, 12), []);
    embeddings.discard(id, TOKENS, numSound);
    embeddings.checkIntegrity();
    // The maker keeps its blocks either way.
    assertEquals(embeddings.inputBlocks(0, ENCODER, "image")?.length, 3);
    assertEquals(admit(embeddings, 9, 12), numLeft > 0 ? [] : ["image"]);
    embeddings.free(9);
  }
});

Deno.test("BlockManager.resize() moves what encoders made, used and cached, with its group", () => {
  for (const blocksPerSlab of [[1, 1], [2, 3]]) {
    const { blocks } = managerOf("sequence", 20, { blocksPerSlab });
    assert(blocks.tryAdmit(0, TOKENS));
    assertEquals(admit(blocks, 1, 1), ["image"]);
    blocks.publishInput(1, "image");
    const other = { ...IMAGE, key: "other" };
    if (blocksPerSlab[0] === 2) assertEquals(admit(blocks, 2, 1, [other]), ["other"]);
    const before = blocks.inputBlocks(1, ENCODER, "image")!;
    blocks.free(0);
    const { moves } = blocks.resize(blocksPerSlab[0] === 2 ? 6 : 5);
    const after = blocks.inputBlocks(1, ENCODER, "image")!;
    const moved = new Map(
      moves.filter(({ group }) => group === ENCODER).map(({ from, to }) => [from, to]),
    );
    assert(before.every((id) => moved.has(id)), `${before} stay at ${[...moved.keys()]}`);
    assertEquals(after, before.map((id) => moved.get(id)!));
    blocks.checkIntegrity();
    blocks.free(1);
    assertEquals(admit(blocks, 3, 1), [], "it is found where it lies now");
    assertEquals(blocks.inputBlocks(3, ENCODER, "image"), after);
  }
});

Deno.test("BlockManager does without what is cached of inputs where it is alone and does not fit", () => {
  const { blocks } = managerOf("sequence", 5, { blocksPerSlab: [1, 2] });
  const input = (key: string, numTokens: number) => ({ key, numTokens, placeholderEnd: 1 });
  admit(blocks, 0, 1, [input("a", 1)]);
  admit(blocks, 1, 1, [input("b", 1)]);
  // The two blocks lie in what the slabs of the other inputs have left.
  assertEquals(admit(blocks, 2, 1, [input("wide", 8)]), ["wide"]);
  blocks.publishInput(2, "wide");
  for (const id of [0, 1, 2]) blocks.free(id);
  assertEquals(blocks.numIdle, 2);
  // Four blocks of tokens leave one slab, into which both would fit.
  assertEquals(admit(blocks, 3, 16, [input("wide", 8)]), ["wide"]);
  blocks.checkIntegrity();
  blocks.free(3);
  assertEquals(admit(blocks, 4, 4, [input("wide", 8)]), ["wide"], "it was evicted for that");
});

Deno.test("BlockManager tells decisions with the blocks of inputs", () => {
  const { blocks, decisions } = managerOf("sequence", 8);
  admit(blocks, 0, 4);
  blocks.publishInput(0, "image");
  blocks.free(0);
  admit(blocks, 1, 4);
  const other = { ...IMAGE, key: "other", numTokens: 20 };
  assertEquals(admit(blocks, 2, 4, [other]), undefined);
  blocks.free(1, "preempt");
  admit(blocks, 2, 4, [other]);
  const first = { sequenceId: 0, numTokens: 4, numCachedTokens: 0 };
  assertEquals(decisions, [
    { type: "allocate", sequenceId: 0, numBlocks: 4 },
    { type: "admit", ...first },
    { type: "free", sequenceId: 0, numBlocks: 4 },
    { type: "hit", sequenceId: 1, numBlocks: 3 },
    { type: "allocate", sequenceId: 1, numBlocks: 1 },
    { type: "admit", ...first, sequenceId: 1 },
    {
      type: "wait",
      sequenceId: 2,
      reason: "blocks",
      numNeeded: 6,
      numFree: 4,
      numEvictable: 0,
    },
    { type: "preempt", sequenceId: 1, numBlocks: 4 },
    { type: "evict", sequenceId: 2, numBlocks: 3 },
    { type: "allocate", sequenceId: 2, numBlocks: 6 },
    { type: "admit", ...first, sequenceId: 2 },
  ]);
});

Deno.test("BlockManager refuses inputs where no group keeps what encoders make", () => {
  const blocks = new BlockManager({ numBlocks: 4, blockSize: 4 });
  assertThrows(() => admit(blocks, 0, 4), InvariantError, "1 inputs, and no group keeps");
});

Deno.test("BlockManager.numSlabsOf() counts what inputs take", () => {
  const { blocks } = managerOf("sequence", 20, { blocksPerSlab: [1, 2] });
  assertEquals([blocks.numSlabsOf(9), blocks.numSlabsOf(9, [IMAGE, IMAGE])], [3, 3 + 2]);
});

Deno.test("BlockManager.numHeldBy() counts the slabs of inputs until nothing reads them", () => {
  const { blocks } = managerOf("placeholders", 20, { blocksPerSlab: [1, 2] });
  admit(blocks, 0, 9);
  assertEquals(blocks.numHeldBy(0), 3 + 2);
  blocks.publishInput(0, "image");
  blocks.markComputed(0, TOKENS, 8);
  assertEquals(blocks.numHeldBy(0), 3);
});

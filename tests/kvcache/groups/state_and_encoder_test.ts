import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import type { ContentKey } from "../../../src/kvcache/groups/block_index.ts";
import { GroupManager } from "../../../src/kvcache/groups/group_manager.ts";
import { NO_BLOCK } from "../../../src/kvcache/groups/hybrid_hit.ts";
import { encoderGroup, fullGroup, stateGroup } from "../../support/group_specs.ts";

const STATE = 1;
const ENCODER = 1;

function withStates(numBlocks: number): GroupManager {
  const groups = [fullGroup(16), stateGroup(16)];
  return new GroupManager({ groups, poolBytes: 4 * numBlocks, maxInFlightTokens: 1000 });
}

/** Keys of the whole blocks of a text, whose every letter stands for 16 tokens. */
function keysOf(text: string): ContentKey[][] {
  const keys = Array.from(text, (_, i) => text.slice(0, i + 1));
  return [keys, keys];
}

/** Computes `count` more positions and publishes them. */
function compute(blocks: GroupManager, id: number, count: number, text: string): void {
  blocks.dispatch(id, count);
  blocks.publish(id, keysOf(text));
  blocks.settle(id, count);
}

Deno.test("GroupManager.trySnapshot() queues a copy of the state, and a hit copies it back", () => {
  const blocks = withStates(20);
  blocks.tryAdmit(0, { numTokens: 64 });
  compute(blocks, 0, 32, "abcd");
  const [own] = blocks.blockTable(0, STATE);
  assert(blocks.trySnapshot(0, keysOf("abcd")));
  const [copy, ...more] = blocks.takeCopies();
  assertEquals([copy!.group, copy!.from, more], [STATE, own, []]);
  const hit = blocks.match(keysOf("abcd"), 64);
  assertEquals([hit.numTokens, hit.blocks[STATE]], [32, [NO_BLOCK, copy!.to]]);
  blocks.tryAdmit(1, { numTokens: 64, hit });
  const [state] = blocks.blockTable(1, STATE);
  assertEquals(blocks.takeCopies(), [{ group: STATE, from: copy!.to, to: state! }]);
  assert(state !== copy!.to && state !== own, "a state of its own");
});

Deno.test("S63: GroupManager.trySnapshot() leaves the sequence its block; the copy is the cached one", () => {
  const blocks = withStates(20);
  blocks.tryAdmit(0, { numTokens: 48 });
  compute(blocks, 0, 16, "abc");
  const before = [...blocks.blockTable(0, STATE)];
  blocks.trySnapshot(0, keysOf("abc"));
  const [copy] = blocks.takeCopies();
  compute(blocks, 0, 16, "abc");
  assertEquals(blocks.blockTable(0, STATE), before);
  assertEquals(blocks.match(keysOf("abc"), 48).blocks[STATE], [copy!.to]);
});

Deno.test("S64: GroupManager keeps both ends of a copy until it is made, whatever else ends", () => {
  const blocks = withStates(4);
  blocks.tryAdmit(0, { numTokens: 16 });
  compute(blocks, 0, 16, "a");
  blocks.trySnapshot(0, keysOf("a"));
  const copies = blocks.takeCopies();
  blocks.free(0);
  blocks.checkIntegrity();
  assertEquals(blocks.numAvailableSlabs, 2, "the state and its snapshot are held");
  assertEquals(blocks.tryAdmit(1, { numTokens: 32 }), undefined);
  blocks.finishCopies(copies);
  assertEquals(blocks.numAvailableSlabs, 4);
  assertEquals(blocks.usage().cachedBytes, 8, "the KV block and the snapshot");
  assertThrows(() => blocks.finishCopies(copies), InvariantError, "is finished, not taken");
  blocks.checkIntegrity();
});

Deno.test("S60: GroupManager.trySnapshot() of a state that is cached copies nothing", () => {
  const blocks = withStates(20);
  for (const id of [0, 1]) {
    blocks.tryAdmit(id, { numTokens: 32 });
    compute(blocks, id, 16, "ab");
    assert(blocks.trySnapshot(id, keysOf("ab")));
  }
  assertEquals(blocks.takeCopies().length, 1);
});

Deno.test("S60: GroupManager.trySnapshot() refuses positions inside a block", () => {
  const blocks = withStates(20);
  blocks.tryAdmit(0, { numTokens: 32 });
  compute(blocks, 0, 17, "ab");
  const message = "no snapshot at 17 positions";
  assertThrows(() => blocks.trySnapshot(0, keysOf("ab")), InvariantError, message);
});

Deno.test("GroupManager.trySnapshot() does without when there is no room, and says so", () => {
  const blocks = withStates(2);
  blocks.tryAdmit(0, { numTokens: 16 });
  compute(blocks, 0, 16, "a");
  assertEquals(blocks.trySnapshot(0, keysOf("a")), false);
  assertEquals(blocks.takeCopies(), []);
  blocks.checkIntegrity();
});

Deno.test("GroupManager.dispatch() waits for the copy of a state it would overwrite", () => {
  const blocks = withStates(20);
  blocks.tryAdmit(0, { numTokens: 32 });
  compute(blocks, 0, 16, "ab");
  blocks.trySnapshot(0, keysOf("ab"));
  assertThrows(() => blocks.dispatch(0, 16), InvariantError, "its state is to be copied before");
  blocks.takeCopies();
  blocks.dispatch(0, 16);
});

Deno.test("S54: GroupManager makes a longer hit of a junction that kept its state", () => {
  const blocks = withStates(30);
  blocks.tryAdmit(0, { numTokens: 48 });
  compute(blocks, 0, 48, "abc");
  blocks.trySnapshot(0, keysOf("abc"));
  blocks.finishCopies(blocks.takeCopies());
  const replay = blocks.match(keysOf("abc"), 55);
  assertEquals([replay.numTokens, replay.junctionTokens], [48, 0]);
  const hit = blocks.match(keysOf("abX"), 48);
  assertEquals([hit.numTokens, hit.junctionTokens], [0, 32]);
  blocks.tryAdmit(1, { numTokens: 48, hit });
  compute(blocks, 1, hit.junctionTokens, "abX");
  blocks.trySnapshot(1, keysOf("abX"));
  assertEquals(blocks.match(keysOf("abY"), 48).numTokens, 32);
});

Deno.test("S58: GroupManager loses a state without the KV beside it, and the other way round", () => {
  const groups = [fullGroup(16), stateGroup(16)];
  const gone: [number, ContentKey][] = [];
  const options = { groups, poolBytes: 4 * 8, maxInFlightTokens: 1000 };
  const blocks = new GroupManager({ ...options, onEvict: (group, key) => gone.push([group, key]) });
  blocks.tryAdmit(0, { numTokens: 48 });
  for (let i = 0; i < 3; i++) {
    compute(blocks, 0, 16, "abc");
    blocks.trySnapshot(0, keysOf("abc"));
    // Snapshots are released when their copies are made, before the sequence ends.
    blocks.finishCopies(blocks.takeCopies());
  }
  blocks.tryAdmit(1, { numTokens: 16 });
  assertEquals(gone, [[STATE, "a"]]);
  const { groupTokens, numTokens } = blocks.match(keysOf("abc"), 60);
  assertEquals([groupTokens, numTokens], [[48, 48], 48]);
  assertEquals(blocks.match(keysOf("aXX"), 60).groupTokens, [16, 0]);
});

function withEncoder(lifetime: "sequence" | "placeholders", numBlocks: number) {
  const groups = [fullGroup(16), encoderGroup(4, lifetime)];
  const gone: ContentKey[] = [];
  const options = { groups, poolBytes: 4 * numBlocks, maxInFlightTokens: 1000 };
  const blocks = new GroupManager({ ...options, onEvict: (_, key) => gone.push(key) });
  return { blocks, gone };
}

const IMAGE = { key: "image", numTokens: 10, placeholderEnd: 8 };

Deno.test("GroupManager computes an input once, counts its users and keeps it when they end", () => {
  const { blocks } = withEncoder("sequence", 10);
  const first = blocks.tryAdmit(0, { numTokens: 16, inputs: [IMAGE] });
  assertEquals(first?.missingInputs, ["image"]);
  blocks.dispatch(0, 8);
  blocks.publishInput(0, "image");
  const second = blocks.tryAdmit(1, { numTokens: 16, inputs: [IMAGE] });
  assertEquals(second?.missingInputs, []);
  const held = blocks.inputBlocks(0, ENCODER, "image");
  assertEquals([held?.length, blocks.inputBlocks(1, ENCODER, "image")], [3, held]);
  assertEquals(blocks.numAvailableSlabs, 10 - 2 - 3);
  blocks.settle(0, 8);
  blocks.free(0);
  assertEquals([blocks.numAvailableSlabs, blocks.usage().cachedBytes], [6, 0]);
  blocks.free(1);
  assertEquals([blocks.numAvailableSlabs, blocks.usage().cachedBytes], [10, 12]);
  blocks.checkIntegrity();
});

Deno.test("GroupManager drops an encoder entry whole", () => {
  const { blocks, gone } = withEncoder("sequence", 4);
  blocks.tryAdmit(0, { numTokens: 1, inputs: [IMAGE] });
  blocks.publishInput(0, "image");
  blocks.free(0);
  blocks.tryAdmit(1, { numTokens: 32 });
  assertEquals([gone, blocks.usage().cachedBytes], [["image"], 0]);
  assertEquals(blocks.tryAdmit(2, { numTokens: 1, inputs: [IMAGE] }), undefined);
  blocks.checkIntegrity();
});

Deno.test("GroupManager frees embeddings when the placeholders they fill are settled", () => {
  for (const [lifetime, numHeld] of [["placeholders", 1], ["sequence", 4]] as const) {
    const { blocks } = withEncoder(lifetime, 10);
    blocks.tryAdmit(0, { numTokens: 16, inputs: [IMAGE] });
    blocks.dispatch(0, 8);
    blocks.dispatch(0, 2);
    assertEquals(blocks.numAvailableSlabs, 6, "a step that reads them is in flight");
    blocks.settle(0, 8);
    assertEquals(blocks.numAvailableSlabs, 10 - numHeld, lifetime);
    blocks.settle(0, 2);
    blocks.free(0);
    assertEquals(blocks.numAvailableSlabs, 10);
  }
});

Deno.test("GroupManager keeps embeddings while a step in flight may read them", () => {
  const { blocks } = withEncoder("placeholders", 10);
  blocks.tryAdmit(0, { numTokens: 16, inputs: [IMAGE] });
  blocks.dispatch(0, 4);
  blocks.dispatch(0, 4);
  blocks.settle(0, 4);
  assertEquals(blocks.numAvailableSlabs, 6);
  blocks.settle(0, 4);
  assertEquals(blocks.numAvailableSlabs, 9);
});

Deno.test("GroupManager takes no block for an empty input, one entry for an input given twice", () => {
  const { blocks } = withEncoder("placeholders", 10);
  const again = { ...IMAGE, placeholderEnd: 14 };
  const empty = { key: "empty", numTokens: 0, placeholderEnd: 2 };
  blocks.tryAdmit(0, { numTokens: 16, inputs: [again, IMAGE, empty] });
  assertEquals(blocks.inputBlocks(0, ENCODER, "empty"), []);
  assertEquals(blocks.numAvailableSlabs, 6);
  blocks.publishInput(0, "empty");
  blocks.dispatch(0, 16);
  blocks.settle(0, 10);
  assertEquals(blocks.numAvailableSlabs, 6, "its last placeholder is at 13");
  blocks.settle(0, 4);
  assertEquals(blocks.numAvailableSlabs, 9);
  blocks.checkIntegrity();
});

Deno.test("S57: GroupManager pins the hits of all groups before any of them takes a block", () => {
  const { blocks, gone } = withEncoder("sequence", 7);
  blocks.tryAdmit(0, { numTokens: 32, inputs: [IMAGE] });
  blocks.dispatch(0, 32);
  blocks.publish(0, [["a", "ab"]]);
  blocks.publishInput(0, "image");
  blocks.settle(0, 32);
  blocks.free(0);
  const hit = blocks.match([["a", "ab"]], 64);
  const other = { key: "other", numTokens: 1, placeholderEnd: 40 };
  // Two blocks are free; the hits are the oldest content of the pool.
  const admission = blocks.tryAdmit(1, { numTokens: 48, hit, inputs: [IMAGE, other] });
  assertEquals(admission, { numCachedTokens: 32, missingInputs: ["other"] });
  assertEquals(gone, []);
  const ids = [...blocks.blockTable(1, 0), ...blocks.inputBlocks(1, ENCODER, "image")!];
  assertEquals(new Set([...ids, ...blocks.inputBlocks(1, ENCODER, "other")!]).size, 7);
  assertEquals(blocks.tryExtend(1, 49), false);
  blocks.checkIntegrity();
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import type { BlockId } from "../../../src/core/ids.ts";
import { BlockKeyer } from "../../../src/kvcache/prefix/block_key.ts";
import { RadixTree } from "../../../src/kvcache/prefix/radix_tree.ts";
import { KEY_SPACE } from "../../support/scheduler_rig.ts";
import { runs } from "../../support/runs.ts";

function treeOf(blockSize: number, numBlocks = 64): RadixTree {
  return new RadixTree(numBlocks, blockSize, new BlockKeyer(KEY_SPACE));
}

/** Puts what is missing of `tokens` into the tree, with block ids from `nextId` on. */
function insertAll(tree: RadixTree, scope: string, tokens: readonly number[], nextId: number) {
  const sequence = Uint32Array.from(tokens);
  let parent: BlockId | undefined;
  let id = nextId;
  for (let start = 0; start + tree.blockSize <= tokens.length; start += tree.blockSize) {
    const found = tree.find({ scope, parent }, sequence, start);
    if (found === undefined) tree.insert({ scope, parent }, sequence, start, id);
    parent = found ?? id++;
  }
  tree.checkIntegrity();
}

function matchOf(tree: RadixTree, scope: string, tokens: readonly number[]): BlockId[] {
  return tree.match(scope, Uint32Array.from(tokens), tokens.length);
}

Deno.test("RadixTree.match() finds what was inserted, whole or in part (S99)", () => {
  const tree = treeOf(1);
  insertAll(tree, "", [1, 2, 3], 10);
  assertEquals(tree.numNodes, 3);
  assertEquals(matchOf(tree, "", [1, 2, 3]), [10, 11, 12]);
  assertEquals(matchOf(tree, "", [1, 2]), [10, 11]);
  insertAll(tree, "", [4, 5], 20);
  assertEquals(tree.numNodes, 5);
  assertEquals(matchOf(tree, "", [5, 4]), []);
});

for (const blockSize of [1, 2]) {
  Deno.test(`RadixTree lets prompts part midway and keeps both (S100), block size ${blockSize}`, () => {
    const tree = treeOf(blockSize);
    insertAll(tree, "", [1, 2, 3, 4, 5, 6, 7, 8], 0);
    insertAll(tree, "", [1, 2, 9, 10], 20);
    assertEquals(tree.numNodes * blockSize, 10);
    const numTokensOf = (tokens: number[]) => matchOf(tree, "", tokens).length * blockSize;
    assertEquals(numTokensOf([1, 2, 3, 4, 999, 1000]), 4);
    assertEquals(numTokensOf([1, 2, 3, 4, 5, 6, 777, 888]), 6);
    assertEquals(tree.numNodes * blockSize, 10, "a look-up changes nothing");
    assertEquals(numTokensOf([1, 2, 3, 4, 5, 6, 7, 8]), 8);
    assertEquals(numTokensOf([1, 2, 9, 10]), 4);
  });
}

Deno.test("RadixTree keeps scopes apart (S102)", () => {
  const tree = treeOf(1);
  for (const [i, scope] of ["key1", "key2", ""].entries()) insertAll(tree, scope, [1, 2], 10 * i);
  assertEquals(matchOf(tree, "key1", [1, 2]), [0, 1]);
  assertEquals(matchOf(tree, "key2", [1, 2]), [10, 11]);
  assertEquals(matchOf(tree, "", [1, 2]), [20, 21]);
  assertEquals(matchOf(tree, "nonexistent", [1, 2]), []);
  assertEquals(new Set([0, 10, 20].map((id) => tree.keyOf(id))).size, 3);
});

Deno.test("RadixTree.match() stays within the limit, in whole blocks", () => {
  const tree = treeOf(4);
  insertAll(tree, "", [1, 2, 3, 4, 5, 6, 7, 8], 0);
  const tokens = Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  assertEquals([3, 4, 7, 8].map((limit) => tree.match("", tokens, limit).length), [0, 1, 1, 2]);
});

Deno.test("RadixTree.keyOf() chains keys from the root, however late it is asked", () => {
  const tree = treeOf(2);
  insertAll(tree, "s", [1, 2, 3, 4], 0);
  const keyer = new BlockKeyer(KEY_SPACE);
  const first = keyer.childKey(keyer.rootKey("s"), Uint32Array.of(1, 2));
  const second = keyer.childKey(first, Uint32Array.of(3, 4));
  assertEquals([tree.keyOf(1), tree.keyOf(0)], [second, first]);
  assertEquals([tree.parentKeyOf(0), tree.parentKeyOf(1)], [keyer.rootKey("s"), first]);
  tree.remove(1);
  insertAll(tree, "s", [1, 2, 7, 7], 1);
  assertEquals(tree.keyOf(1), keyer.childKey(first, Uint32Array.of(7, 7)));
});

Deno.test("RadixTree.remove() takes leaves only", () => {
  const tree = treeOf(1);
  insertAll(tree, "", [1, 2], 0);
  assertEquals([tree.isLeaf(0), tree.isLeaf(1)], [false, true]);
  assertThrows(() => tree.remove(0), InvariantError, "node 0 is not a leaf");
  assertThrows(() => tree.remove(5), InvariantError, "node 5 is not a leaf");
  tree.remove(1);
  tree.remove(0);
  assertEquals(tree.numNodes, 0);
  tree.checkIntegrity();
});

Deno.test("RadixTree agrees with a map of prefixes, however few hash buckets there are", () => {
  const scopes = fc.constantFrom("a", "b");
  const steps = fc.record({
    scope: scopes,
    tokens: fc.array(fc.nat(2), { maxLength: 6 }),
    isRemoval: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 }), fc.array(steps), (blockSize, history) => {
      const tree = treeOf(blockSize, 8);
      const model = new Map<string, BlockId>();
      for (const { scope, tokens, isRemoval } of history) {
        const sequence = Uint32Array.from(tokens);
        const found = tree.match(scope, sequence, tokens.length);
        const expected: BlockId[] = [];
        for (let end = blockSize; end <= tokens.length; end += blockSize) {
          const block = model.get(`${scope}:${tokens.slice(0, end)}`);
          if (block === undefined) break;
          expected.push(block);
        }
        assertEquals(found, expected);
        const free = Array.from({ length: 8 }, (_, id) => id).find((id) => !tree.has(id));
        const start = found.length * blockSize;
        const last = found.at(-1);
        if (isRemoval && last !== undefined && tree.isLeaf(last)) {
          tree.remove(last);
          model.delete(`${scope}:${tokens.slice(0, start)}`);
        } else if (!isRemoval && free !== undefined && start + blockSize <= tokens.length) {
          tree.insert({ scope, parent: last }, sequence, start, free);
          model.set(`${scope}:${tokens.slice(0, start + blockSize)}`, free);
        }
        tree.checkIntegrity();
        assertEquals(tree.numNodes, model.size);
        for (const id of model.values()) assert(tree.has(id));
      }
    }),
    { seed: 10, numRuns: runs(500) },
  );
});

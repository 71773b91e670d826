import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import { SwapStore } from "../../../src/kvcache/swap/swap_store.ts";

/** Two groups, of which a slab is one block of the first and two of the second. */
function storeOf(numSlabs: number): SwapStore {
  return new SwapStore({ numSlabs, blockBytes: [100, 50] }, [1, 2]);
}

/** So many blocks of each group, on the device from block 10 and 20 on. */
function contents(counts: readonly number[]) {
  return {
    numTokens: 4 * counts[0]!,
    numSkipped: 0,
    entries: counts.map((count, group) =>
      Array.from({ length: count }, (_, index) => ({ index, block: 10 * (group + 1) + index }))
    ),
  };
}

Deno.test("SwapStore hands copies out once, out of the blocks that were given away, and back where told", () => {
  const store = storeOf(5);
  store.store(7, contents([2, 1]));
  assertEquals([store.numUsed, store.numSequences, [...store.ids]], [3, 1, [7]]);
  const { outs, ins } = store.drain();
  assertEquals(outs.map(({ group, block }) => [group, block]), [[0, 10], [0, 11], [1, 20]]);
  assertEquals([ins, store.drain().outs], [[], []]);
  const hostBlocks = outs.map(({ hostBlock }) => hostBlock);
  const loaded = store.load(
    7,
    (group, index) => group === 0 && index === 0 ? undefined : 30 + index,
  );
  assertEquals(loaded, { numBlocks: 2, bytes: 150 });
  assertEquals(store.drain().ins, [
    { sequenceId: 7, group: 0, block: 31, hostBlock: hostBlocks[1]! },
    { sequenceId: 7, group: 1, block: 30, hostBlock: hostBlocks[2]! },
  ]);
  assertEquals([store.isLoading(7), store.numUsed, store.numSequences], [true, 3, 0]);
  store.checkIntegrity();
  store.release();
  assertEquals([store.isLoading(7), store.numUsed], [false, 0]);
  store.checkIntegrity();
  assertEquals(store.counts, {
    ...{ numSwappedOutBlocks: 3, numSwappedInBlocks: 2, swappedOutBytes: 250, swappedInBytes: 150 },
    numSwapsEvicted: 0,
  });
});

Deno.test("SwapStore gives a slab to one group at a time, and says what fits beside what is there", () => {
  const store = storeOf(3);
  store.store(1, contents([1, 1]));
  assert(store.fits([0, 3]) && store.fits([1, 1]), "a block of the second group is free");
  assert(!store.fits([2, 0]) && !store.fits([0, 4]), "there are three slabs");
  store.store(2, contents([0, 3]));
  assertEquals(store.numUsed, 3);
  const hostBlocks = store.drain().outs.filter(({ group }) => group === 1).map(({ hostBlock }) =>
    hostBlock
  );
  assertEquals(new Set(hostBlocks).size, 4);
  store.checkIntegrity();
});

Deno.test("SwapStore forgets at once what ends, what no plan has copied, and everything", () => {
  const store = storeOf(8);
  for (const id of [1, 2]) store.store(id, contents([2, 0]));
  store.drop(1);
  store.drop(1);
  assertEquals(store.drain().outs.length, 2);
  store.store(3, contents([1, 2]));
  store.dropUnplanned();
  assertEquals([[...store.ids], store.numUsed], [[2], 2]);
  store.dropEvicted(2);
  assertEquals([store.numUsed, store.counts.numSwapsEvicted], [0, 1]);
  store.store(4, contents([1, 1]));
  store.clear();
  assertEquals([store.numUsed, store.drain()], [0, { outs: [], ins: [] }]);
  store.checkIntegrity();
});

Deno.test("SwapStore keeps one sequence once", () => {
  const store = storeOf(8);
  store.store(1, contents([1, 0]));
  assertThrows(() => store.store(1, contents([1, 0])), InvariantError, "sequence 1");
});

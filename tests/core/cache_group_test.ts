import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import {
  type CacheSpec,
  groupLayers,
  liveRange,
  maxLiveBlocks,
  numLiveBlocks,
} from "../../src/core/cache_group.ts";
import { runs } from "../support/runs.ts";

const HEADS = { numKvHeads: 2, headDim: 64 };
const size = fc.integer({ min: 1, max: 40 });

const anyCache: fc.Arbitrary<CacheSpec> = fc.oneof(
  fc.constant<CacheSpec>({ kind: "full", ...HEADS }),
  fc.record({ window: size, numSinkTokens: fc.nat(20) }).map((fields): CacheSpec => ({
    kind: "sliding_window",
    ...fields,
    ...HEADS,
  })),
  size.map((window): CacheSpec => ({ kind: "chunked_local", window, ...HEADS })),
);

/** Whether the query at `query` reads position `at`, by the kinds' definitions. */
function reads(cache: CacheSpec, query: number, at: number): boolean {
  if (at > query) return false;
  switch (cache.kind) {
    case "sliding_window":
      return at > query - cache.window || at < (cache.numSinkTokens ?? 0);
    case "chunked_local":
      return at >= query - query % cache.window;
    default:
      return true;
  }
}

/** Blocks below `end` with a position that a query at or after `from` reads, for ever on. */
function blocksRead(cache: CacheSpec, from: number, end: number, blockSize: number): number[] {
  const blocks = new Set<number>();
  for (let at = 0; at < end; at++) {
    // A position that the next query does not read is read by none after it; the last block is
    // being filled, and a new position is read by its own query.
    const isSink = cache.kind === "sliding_window" && at < (cache.numSinkTokens ?? 0);
    if (at >= from || isSink || reads(cache, from, at)) blocks.add(Math.floor(at / blockSize));
  }
  return [...blocks].sort((a, b) => a - b);
}

Deno.test("the live range is the blocks with a position that a later query reads", () => {
  fc.assert(
    fc.property(anyCache, fc.nat(120), fc.integer({ min: 1, max: 9 }), (cache, n, blockSize) => {
      const { numSinkBlocks, start, end } = liveRange(cache, n, blockSize);
      const live = Array.from({ length: end }, (_, i) => i)
        .filter((i) => i < numSinkBlocks || i >= start);
      // One that is being filled is live, whether or not what it holds is read again.
      const expected = new Set(blocksRead(cache, n, n, blockSize));
      if (n % blockSize !== 0) expected.add(Math.floor(n / blockSize));
      assertEquals(live, [...expected].sort((a, b) => a - b));
    }),
    { numRuns: runs(3000) },
  );
});

Deno.test("the most live blocks are those of the worst step, counted position by position", () => {
  fc.assert(
    fc.property(
      anyCache,
      fc.integer({ min: 1, max: 90 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 20 }),
      (cache, numTokens, blockSize, maxInFlightTokens) => {
        let most = 0;
        for (let settled = 0; settled < numTokens; settled++) {
          const end = Math.min(numTokens, settled + maxInFlightTokens);
          most = Math.max(most, blocksRead(cache, settled, end, blockSize).length);
        }
        assertEquals(maxLiveBlocks(cache, numTokens, { blockSize, maxInFlightTokens }), most);
      },
    ),
    { numRuns: runs(2000) },
  );
});

Deno.test("chunks of 100 in blocks of 16 hold at most 7 blocks of a sequence that decodes", () => {
  const cache: CacheSpec = { kind: "chunked_local", window: 100, ...HEADS };
  assertEquals(maxLiveBlocks(cache, 1000, { blockSize: 16, maxInFlightTokens: 1 }), 7);
});

Deno.test("a state is one block, and an encoder's are not counted by positions", () => {
  const grain = { blockSize: 16, maxInFlightTokens: 64 };
  assertEquals(maxLiveBlocks({ kind: "state", stateBytes: 64 }, 1000, grain), 1);
  assertEquals(maxLiveBlocks({ kind: "state", stateBytes: 64 }, 0, grain), 0);
  assertEquals(numLiveBlocks(liveRange({ kind: "state", stateBytes: 64 }, 48, 16)), 1);
  const encoder: CacheSpec = { kind: "encoder", lifetime: "sequence", ...HEADS };
  assertEquals(maxLiveBlocks(encoder, 1000, grain), 0);
});

Deno.test("layers that keep the same are one group, full attention first", () => {
  const full: CacheSpec = { kind: "full", ...HEADS };
  const window: CacheSpec = { kind: "sliding_window", window: 512, ...HEADS };
  const wide: CacheSpec = { kind: "full", numKvHeads: 1, headDim: 512 };
  assertEquals(
    groupLayers([window, full, window, undefined, wide, full])
      .map(({ name, layers }) => ({ name, layers })),
    [
      { name: "full, 2 heads of 64", layers: [1, 5] },
      { name: "full, 1 heads of 512", layers: [4] },
      { name: "sliding_window of 512", layers: [0, 2] },
    ],
  );
  assertEquals(groupLayers([full, full]).map(({ name }) => name), ["full"]);
  assertEquals(groupLayers([]), []);
});

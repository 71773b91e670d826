import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockMap } from "../../../src/core/engine_view.ts";
import { emptyMap, encodeChanges } from "../../../src/http/machine/block_changes.ts";
import {
  applyChanges,
  countKinds,
  emptyPicture,
  fromBase64,
} from "../../../src/window/page/machine/codec.ts";
import { runs } from "../../support/runs.ts";

const maps: fc.Arbitrary<BlockMap> = fc.array(
  fc.record({
    length: fc.integer({ min: 1, max: 40 }),
    state: fc.integer({ min: 0, max: 255 }),
    holders: fc.integer({ min: 0, max: 255 }),
    owner: fc.oneof(fc.constant(-1), fc.nat(300), fc.nat(2 ** 31 - 2)),
  }),
  { maxLength: 30 },
).map((spans) => {
  const map = emptyMap(600);
  let at = 0;
  for (const { length, state, holders, owner } of spans) {
    map.states.fill(state, at, at + length);
    map.holders.fill(holders, at, at + length);
    map.firstHolders.fill(owner, at, at + length);
    at += length;
  }
  return map;
});

Deno.test("A page that applies all changes has the pool's state, from nothing and from frame to frame", () => {
  fc.assert(
    fc.property(fc.array(maps, { minLength: 1, maxLength: 4 }), (frames) => {
      const picture = emptyPicture(600);
      let before = emptyMap(600);
      for (const frame of frames) {
        applyChanges(picture, encodeChanges(before, frame));
        assertEquals(picture, frame);
        before = frame;
      }
      const fresh = emptyPicture(600);
      applyChanges(fresh, encodeChanges(emptyMap(600), before));
      assertEquals(fresh, before);
      assertEquals(encodeChanges(before, before).length, 0);
    }),
    { seed: 73, numRuns: runs(300) },
  );
});

Deno.test("A pool of 100,000 blocks in runs takes few bytes, and at worst 7 for a block", () => {
  const numBlocks = 100_000;
  const inRuns = emptyMap(numBlocks);
  const scattered = emptyMap(numBlocks);
  for (let block = 0; block < numBlocks; block++) {
    const sequence = Math.floor(block / 250);
    for (const map of [inRuns, scattered]) map.holders[block] = 1;
    inRuns.firstHolders[block] = sequence;
    scattered.firstHolders[block] = block % 9999;
  }
  assert(encodeChanges(emptyMap(numBlocks), inRuns).length < 4000);
  assert(encodeChanges(emptyMap(numBlocks), scattered).length <= 7 * numBlocks);
});

Deno.test("The page reads base64 and tells kinds of blocks by what matters most", () => {
  assertEquals([...fromBase64("AP+A")], [0, 255, 128]);
  const picture = emptyPicture(5);
  picture.states.set([0, 1, 1, 1, 3]);
  picture.holders.set([0, 0, 1, 2, 1]);
  assertEquals(countKinds(picture), { free: 1, used: 1, shared: 1, cached: 1, pinned: 1 });
});

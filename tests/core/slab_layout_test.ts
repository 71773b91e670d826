import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { planSlabs } from "../../src/core/slab_layout.ts";
import { runs } from "../support/runs.ts";

Deno.test("planSlabs() makes a slab of one block where all sizes are equal", () => {
  const cut = { blockBytes: 4096, strideBytes: 4096, blocksPerSlab: 1 };
  assertEquals(planSlabs([4096, 4096]), { slabBytes: 4096, cuts: [cut, cut] });
});

Deno.test("planSlabs() takes the least common multiple, which needs no padding", () => {
  const { slabBytes, cuts } = planSlabs([8, 12]);
  assertEquals(slabBytes, 24);
  assertEquals(cuts.map((cut) => cut.blocksPerSlab), [3, 2]);
  assertEquals(cuts.map((cut) => cut.strideBytes), [8, 12]);
});

Deno.test("planSlabs() takes 64 of the smallest blocks and not one more", () => {
  assertEquals(planSlabs([4, 256]).slabBytes, 256);
  assertEquals(planSlabs([4 * 63, 4 * 64]).slabBytes, 4 * 63 * 64);
  const beyond = planSlabs([4 * 65, 4 * 66]);
  assert(beyond.slabBytes <= 64 * 4 * 65, `a slab of ${beyond.slabBytes}`);
  assert(beyond.cuts.some((cut) => cut.strideBytes > cut.blockBytes), "no padding");
});

Deno.test("planSlabs() pads the worst group least: 7, 11 and 13 words in a slab of 154", () => {
  const { slabBytes, cuts } = planSlabs([28, 44, 52]);
  assertEquals([slabBytes, cuts.map((cut) => cut.strideBytes)], [4 * 154, [28, 44, 56]]);
});

Deno.test("planSlabs() makes the largest block the slab when it exceeds all bounds", () => {
  assertEquals(planSlabs([4, 4 * 101]).cuts.map((cut) => cut.blocksPerSlab), [101, 1]);
});

Deno.test("planSlabs() aligns strides and counts that as padding", () => {
  const { cuts } = planSlabs([10, 20], { alignBytes: 8 });
  assertEquals(cuts, [
    { blockBytes: 10, strideBytes: 16, blocksPerSlab: 3 },
    { blockBytes: 20, strideBytes: 24, blocksPerSlab: 2 },
  ]);
});

Deno.test("planSlabs() refuses what is no size, with the value", () => {
  assertThrows(() => planSlabs([]), RangeError, "no groups");
  for (const bytes of [0, -4, 1.5]) {
    assertThrows(() => planSlabs([4, bytes]), RangeError, `blocks of ${bytes} bytes`);
  }
});

Deno.test("planSlabs() cuts every slab without a rest, in bounds, however the sizes lie", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(sizes, fc.constantFrom(1, 4, 16), (blockBytes, alignBytes) => {
      const { slabBytes, cuts } = planSlabs(blockBytes, { alignBytes });
      const aligned = blockBytes.map((bytes) => Math.ceil(bytes / alignBytes) * alignBytes);
      cuts.forEach(({ strideBytes, blocksPerSlab }, group) => {
        assertEquals([strideBytes * blocksPerSlab, strideBytes % alignBytes], [slabBytes, 0]);
        assert(strideBytes >= aligned[group]!);
      });
      assert(slabBytes <= Math.max(64 * Math.min(...aligned), ...aligned));
      const isExact = cuts.every((cut, group) => cut.strideBytes === aligned[group]);
      const multiple = aligned.reduce(leastCommonMultiple);
      if (multiple <= 64 * Math.min(...aligned)) assert(isExact && slabBytes === multiple);
    }),
    { seed: 40, numRuns: runs(2000) },
  );
});

function leastCommonMultiple(a: number, b: number): number {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
}

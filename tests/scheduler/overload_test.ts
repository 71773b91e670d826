import { assert, assertEquals } from "@std/assert";
import { equalLoad, mixedLoad, playOverload } from "../../bench/overload.ts";

/** Share of positions computed twice that a load may cost. */
const MAX_POSITIONS = 1.15;

for (const numBlocks of [128, 256, 512]) {
  Deno.test(
    `64 requests of 64 tokens in and 448 out in ${numBlocks} blocks compute at most 1.15 times the positions needed, in their order`,
    () => {
      const load = equalLoad(64, 64, 448);
      const { positions, begun, ended, batch } = playOverload(load, { numBlocks });
      assert(positions <= MAX_POSITIONS, `${positions} times the positions`);
      // As many as end in the pool side by side: 32 blocks each.
      assert(batch >= 0.95 * numBlocks / 32, `${batch} sequences per step`);
      const order = load.map((_, i) => i);
      assertEquals([begun, ended], [order, order], "nobody is overtaken");
    },
  );
}

Deno.test("with host memory they do so without leaving blocks over for growth, as many at a time as ever fit", () => {
  for (const numBlocks of [128, 256, 512]) {
    const load = equalLoad(64, 64, 448);
    const options = { numBlocks, scheduleConservativeness: 0 };
    const alone = playOverload(load, options);
    const swapping = playOverload(load, { ...options, numSwapBlocks: numBlocks });
    assert(alone.positions > 1.4, "this load does not overload");
    assert(swapping.positions <= MAX_POSITIONS, `${swapping.positions} times the positions`);
    assert(swapping.batch >= 0.95 * alone.batch, `${swapping.batch} sequences per step`);
    const ample = playOverload(load, { ...options, numSwapBlocks: 2 * numBlocks });
    assertEquals(ample.positions, 1);
  }
});

Deno.test("requests of mixed lengths compute at most 1.15 times the positions needed, and their order of arrival is that of first tokens", () => {
  for (const numBlocks of [128, 256]) {
    const load = mixedLoad(192, 64, 224);
    const guarded = playOverload(load, { numBlocks });
    const unguarded = playOverload(load, { numBlocks, scheduleConservativeness: 0 });
    assert(unguarded.positions > 1.3, "this load does not overload");
    assert(guarded.positions <= MAX_POSITIONS, `${guarded.positions} times the positions`);
    assert(guarded.maxPreemptions <= 3, `one is preempted ${guarded.maxPreemptions} times`);
    assert(guarded.batch >= 0.8 * unguarded.batch, `${guarded.batch} sequences per step`);
    assertEquals(guarded.begun, load.map((_, i) => i));
  }
});

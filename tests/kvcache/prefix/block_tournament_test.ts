import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import { BlockTournament } from "../../../src/kvcache/prefix/block_tournament.ts";
import { runs } from "../../support/runs.ts";

Deno.test("BlockTournament agrees with a sorted array under any history", () => {
  const step = fc.record({ id: fc.nat(15), rank: fc.nat(3) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.array(step), (numBlocks, steps) => {
      const history = steps.filter(({ id }) => id < numBlocks);
      const ranks = new Array<number>(16).fill(0);
      const isBefore = (a: number, b: number) =>
        ranks[a]! < ranks[b]! || (ranks[a] === ranks[b] && a < b);
      const blocks = new BlockTournament(numBlocks, isBefore);
      let model: number[] = [];
      for (const { id, rank } of history) {
        assertEquals(blocks.has(id), model.includes(id));
        if (blocks.has(id)) {
          blocks.remove(id);
          model = model.filter((other) => other !== id);
        } else {
          ranks[id] = rank;
          blocks.push(id);
          model = [...model, id].sort((a, b) => isBefore(a, b) ? -1 : 1);
        }
        blocks.checkIntegrity();
        assertEquals([blocks.length, blocks.first], [model.length, model[0]]);
      }
    }),
    { seed: 11, numRuns: runs(500) },
  );
});

Deno.test("BlockTournament refuses a block it has, and one it has not", () => {
  const blocks = new BlockTournament(2, (a, b) => a < b);
  blocks.push(1);
  assertThrows(() => blocks.push(1), InvariantError, "block 1 is in the tournament already");
  assertThrows(() => blocks.remove(0), InvariantError, "block 0 is not in the tournament");
});

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { tuningBatch } from "../../src/runner/tuning_step.ts";

Deno.test("tuningBatch() has the sequences of the step over blocks of the pool", () => {
  const size = fc.integer({ min: 1, max: 40 });
  fc.assert(
    fc.property(
      size,
      size,
      size,
      size,
      fc.constantFrom(4, 16),
      (numSeqs, count, before, numBlocks, blockSize) => {
        const step = { numSeqs, count, context: before + count };
        const { chunks, numTokens } = tuningBatch(step, { blockSize, numBlocks });
        assertEquals(chunks.length, numSeqs);
        assertEquals(numTokens, chunks.reduce((sum, { tokens }) => sum + tokens.length, 0));
        for (const { tokens, start, blockTables } of chunks) {
          const blockTable = blockTables[0]!;
          assertEquals([tokens.length, start], [count, before]);
          assertEquals(blockTable.length, Math.ceil((before + count) / blockSize));
          assert(blockTable.every((id) => Number.isInteger(id) && id >= 0 && id < numBlocks));
        }
      },
    ),
    { seed: 20260802, numRuns: 100 },
  );
});

Deno.test("tuningBatch() gives sequences blocks of their own where the pool has room", () => {
  const { chunks } = tuningBatch({ numSeqs: 4, count: 1, context: 64 }, {
    blockSize: 16,
    numBlocks: 32,
  });
  assertEquals(new Set(chunks.flatMap(({ blockTables }) => blockTables[0]!)).size, 16);
});

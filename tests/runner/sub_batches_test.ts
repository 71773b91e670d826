import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Batch, ScheduledChunk } from "../../src/core/batch.ts";
import { READS_ALL } from "../../src/core/read_span.ts";
import { splitsOf, subBatches } from "../../src/runner/sub_batches.ts";

/** A chunk whose context has `contextLen` positions after the step, `count` of them new. */
function chunkOf(sequenceId: number, contextLen: number, count = 1): ScheduledChunk {
  return {
    sequenceId,
    tokens: new Uint32Array(count),
    start: contextLen - count,
    blockTables: [[]],
  };
}

function batchOf(chunks: readonly ScheduledChunk[]): Batch {
  const numTokens = chunks.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { step: 7, copies: [{ group: 0, from: 1, to: 2, numTokens: 3 }], chunks, numTokens };
}

const idsOf = (batches: readonly Batch[]) =>
  batches.map(({ chunks }) => chunks.map(({ sequenceId }) => sequenceId));

Deno.test("splitsOf() counts begun splits of decodes, none of longer chunks", () => {
  const counts = [1, 32, 33, 64, 65].map((n) => splitsOf(chunkOf(0, n), 32));
  assertEquals(counts, [1, 1, 2, 2, 3]);
  assertEquals(splitsOf(chunkOf(0, 65, 2), 32), 0);
});

Deno.test("subBatches() gives a batch as it is where its splits have room", () => {
  const batch = batchOf([chunkOf(0, 64), chunkOf(1, 900, 100), chunkOf(2, 65)]);
  const [only, ...others] = subBatches(batch, { splitLen: 32, maxSplits: 5 });
  assert(only === batch);
  assertEquals(others, []);
});

Deno.test("subBatches() begins another sub-batch where the next decode's splits have no room", () => {
  const batch = batchOf([chunkOf(0, 64), chunkOf(1, 900, 100), chunkOf(2, 65), chunkOf(3, 1)]);
  const batches = subBatches(batch, { splitLen: 32, maxSplits: 4 });
  assertEquals(idsOf(batches), [[0, 1], [2, 3]]);
  assertEquals(batches.map(({ numTokens }) => numTokens), [101, 2]);
  assertEquals(batches.map(({ copies }) => copies), [batch.copies, undefined]);
  assertEquals(batches.map(({ step }) => step), [7, 7]);
});

Deno.test("subBatches() leaves room for the splits of the last of several steps", () => {
  const batch = batchOf([chunkOf(0, 64), chunkOf(1, 64)]);
  const longer = {
    ...batch,
    chunks: batch.chunks.map((chunk) => ({ ...chunk, numDecodeSteps: 2 })),
  };
  const limits = { splitLen: 32, maxSplits: 4 };
  assertEquals([batch, longer].map((each) => subBatches(each, limits).length), [1, 2]);
});

Deno.test("subBatches() loses no chunk, keeps their order and fills each sub-batch as far as it goes", () => {
  const chunk = fc.record({ contextLen: fc.integer({ min: 4, max: 320 }), isDecode: fc.boolean() });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 20 }), fc.integer({ min: 10, max: 40 }), (
      shapes,
      maxSplits,
    ) => {
      const limits = { splitLen: 32, maxSplits };
      const batch = batchOf(
        shapes.map(({ contextLen, isDecode }, i) => chunkOf(i, contextLen, isDecode ? 1 : 3)),
      );
      const batches = subBatches(batch, limits);
      assertEquals(batches.flatMap(({ chunks }) => chunks), batch.chunks);
      assertEquals(batches.reduce((sum, { numTokens }) => sum + numTokens, 0), batch.numTokens);
      const sizes = batches.map(({ chunks }) =>
        chunks.reduce((sum, each) => sum + splitsOf(each, limits.splitLen), 0)
      );
      sizes.forEach((size, i) => {
        assert(size <= maxSplits);
        if (i > 0) {
          assert(sizes[i - 1]! + splitsOf(batches[i]!.chunks[0]!, limits.splitLen) > maxSplits);
        }
      });
    }),
    { seed: 11, numRuns: 500 },
  );
});

Deno.test("splitsOf() and subBatches() count the splits that the windows of each group read", () => {
  const window = { window: 40, isChunked: false, numSinkTokens: 0 };
  // Position 199 reads from 160 on.
  assertEquals(splitsOf(chunkOf(0, 200), 32, window), 2);
  assertEquals(splitsOf(chunkOf(0, 200), 32, { ...window, numSinkTokens: 33 }), 4);
  assertEquals(splitsOf(chunkOf(0, 200), 32, window, 25), 3);
  const batch = batchOf([chunkOf(0, 200), chunkOf(1, 200)]);
  const limits = { splitLen: 32, maxSplits: 7 };
  assertEquals(subBatches(batch, { ...limits, spans: [window, window] }), [batch]);
  assertEquals(idsOf(subBatches(batch, { ...limits, spans: [window, READS_ALL] })), [[0], [1]]);
});

import { assertEquals } from "@std/assert";
import type { Batch, ScheduledChunk } from "../../src/core/batch.ts";
import { buildRunner } from "../../src/runner/build_runner.ts";
import { gpuTest } from "../support/agreement.ts";
import { demoInputs } from "../support/demo_engine.ts";

/** Prompts of one token each, whose hidden state is asked for. */
function poolingBatch(count: number): Batch {
  const chunks = Array.from({ length: count }, (_, i): ScheduledChunk => ({
    sequenceId: i,
    tokens: Uint32Array.of(300 + i % 7),
    start: 0,
    blockTables: [[i]],
    pooling: { firstRow: 0, numRows: 1 },
  }));
  return { step: 0, chunks, numTokens: count };
}

gpuTest("the sums of a step may be more bytes than its draws could be", async (device) => {
  const numSeqs = 1024;
  const inputs = await demoInputs(device, {
    ...{ maxNumSeqs: numSeqs, maxNumBatchedTokens: numSeqs, numBlocksOverride: numSeqs },
    isDeterministic: true,
  });
  const runner = await buildRunner(inputs);
  const few = (await runner.run(poolingBatch(7))).map(({ outputs }) => outputs);
  const all = await runner.run(poolingBatch(numSeqs));
  assertEquals(all.length, numSeqs);
  all.forEach(({ sequenceId, outputs }, i) => {
    assertEquals([sequenceId, outputs], [i, few[i % 7]]);
  });
});

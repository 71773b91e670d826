import { BlockManager } from "../src/kvcache/block_manager.ts";
import { StepPacker } from "../src/runner/step_packer.ts";
import { subBatches } from "../src/runner/sub_batches.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { GREEDY } from "./demo.ts";

const LIMITS = {
  maxModelLen: 1 << 20,
  maxNumSeqs: 128,
  maxNumBatchedTokens: 8192,
  maxNumQueuedSeqs: 128,
};
const PARAMS = { ...GREEDY, maxTokens: 1 << 19 };

/** A scheduler with `count` sequences past prompts of `context` tokens, and a function that takes one step. */
function decoding(count: number, context: number): () => void {
  const blocks = new BlockManager({ numBlocks: 1 << 18, blockSize: 16 });
  const scheduler = new Scheduler(blocks, LIMITS);
  const packer = new StepPacker({
    maxTokens: LIMITS.maxNumBatchedTokens,
    maxSeqs: LIMITS.maxNumSeqs,
    maxBlocksPerSeq: 1 << 14,
    blockSize: 16,
    queryTile: 8,
    splitLen: 32,
    // Longer contexts are packed in sub-batches, as the runner does it.
    maxSplits: 1 << 16,
  });
  const prompt = new Uint32Array(context);
  for (let i = 0; i < count; i++) {
    scheduler.add({ id: String(i), sequences: [{ prompt, params: PARAMS }] });
  }
  const step = () => {
    const batch = scheduler.schedule()!;
    for (const part of subBatches(batch, packer.limits)) packer.pack(part);
    const drawn = batch.chunks.filter(({ draw }) => draw !== undefined);
    const outputs = [{ type: "token", token: 5 } as const];
    scheduler.commit(batch, drawn.map(({ sequenceId }) => ({ sequenceId, outputs })));
  };
  const numPrefills = Math.ceil(count * context / LIMITS.maxNumBatchedTokens);
  for (let i = 0; i < numPrefills + 100; i++) step();
  return step;
}

for (const context of [128, 16_384]) {
  for (const count of [1, 8, 32, 128]) {
    const group = `schedule, pack and commit one decode step, context ${context}`;
    let step: (() => void) | undefined;
    // Made in the first run, so that nothing is made for benches that are filtered out.
    Deno.bench({ name: `${count} sequences`, group }, () => (step ??= decoding(count, context))());
  }
}

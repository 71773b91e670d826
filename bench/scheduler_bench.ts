import { BlockManager } from "../src/kvcache/block_manager.ts";
import { StepPacker } from "../src/runner/step_packer.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { GREEDY } from "./demo.ts";

const LIMITS = {
  maxModelLen: 1 << 20,
  maxNumSeqs: 64,
  maxNumBatchedTokens: 512,
  maxNumWaitingSeqs: 64,
};
const PARAMS = { ...GREEDY, maxTokens: 1 << 19 };

/** A scheduler with `count` sequences past their prompts, and a function that takes one step. */
function decoding(count: number): () => void {
  const blocks = new BlockManager({ numBlocks: 1 << 18, blockSize: 16 });
  const scheduler = new Scheduler(blocks, LIMITS);
  const packer = new StepPacker({
    maxTokens: 512,
    maxSeqs: 64,
    maxBlocksPerSeq: 1 << 16,
    blockSize: 16,
    queryTile: 8,
    splitLen: 32,
    maxSplits: 1 << 16,
  });
  const prompt = new Uint32Array(100);
  for (let i = 0; i < count; i++) {
    scheduler.add({ id: String(i), sequences: [{ prompt, params: PARAMS }] });
  }
  const step = () => {
    const batch = scheduler.schedule()!;
    packer.pack(batch);
    const drawn = batch.chunks.filter(({ sample }) => sample !== undefined);
    scheduler.commit(batch, drawn.map(({ sequenceId }) => ({ sequenceId, token: 5 })));
  };
  for (let i = 0; i < 100; i++) step();
  return step;
}

for (const count of [1, 8, 64]) {
  const step = decoding(count);
  Deno.bench(
    { name: `${count} sequences`, group: "schedule, pack and commit one decode step" },
    step,
  );
}

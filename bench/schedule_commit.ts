/**
 * What one decode step costs the scheduler and the cache, with the records of what they do:
 * schedule and commit of so many running sequences, by single steps and by eight at a time, in
 * processor time, V8's own threads included.
 *
 * Usage: `deno run -A bench/schedule_commit.ts [--quick]`. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import process from "node:process";
import type { KvDecision } from "../src/core/kv_decision.ts";
import { KvRecorder } from "../src/engine/kv_recorder.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { GREEDY } from "./demo.ts";

const COUNTS = [1, 32, 256, 1024];
/** Steps of one plan, at most; of 1,024 sequences a plan has draws for four. */
const STEPS = [1, 8];
const CONTEXT = 128;
const BLOCK_SIZE = 16;

/**
 * A scheduler with `count` sequences past their prompts, and a function that takes one plan of at
 * most so many steps, and returns how many it has.
 */
function decoding(count: number, maxDecodeSteps: number): () => number {
  const recorder = new KvRecorder();
  const onDecision = (decision: KvDecision) => recorder.decided(decision, scheduler.numSteps);
  const prefixCache = {
    policy: "lru",
    listener: recorder,
    keySpace: { secret: new Uint8Array(32), modelFingerprint: "bench", layout: "bench" },
  } as const;
  const sizes = { numBlocks: 1 << 18, blockSize: BLOCK_SIZE };
  const blocks: BlockManager = new BlockManager({ ...sizes, prefixCache, onDecision });
  const scheduler: Scheduler = new Scheduler(blocks, {
    onDecision,
    maxModelLen: 1 << 20,
    maxNumSeqs: count,
    maxNumBatchedTokens: 8192,
    maxNumQueuedSeqs: count,
    maxDecodeSteps,
  });
  for (let i = 0; i < count; i++) {
    const prompt = new Uint32Array(CONTEXT).fill(i);
    scheduler.add({
      id: String(i),
      sequences: [{ prompt, params: { ...GREEDY, maxTokens: 1 << 19 } }],
    });
  }
  let numSteps = 0;
  const step = () => {
    const batch = scheduler.schedule()!;
    const drawn = batch.chunks.filter(({ draw }) => draw !== undefined);
    const { numDecodeSteps: length = 1 } = batch.chunks[0]!;
    const outputs = Array.from(
      { length },
      () => ({ type: "token", token: numSteps++ % 1000 }) as const,
    );
    scheduler.commit(batch, drawn.map(({ sequenceId }) => ({ sequenceId, outputs })));
    recorder.drain();
    return length;
  };
  while (scheduler.stats.numGeneratedTokens < count * 64) step();
  return step;
}

/** Milliseconds of processor time per decode step, the median of `numRounds` rounds. */
function processorMs(step: () => number, numSteps: number, numRounds: number): number {
  const rounds = Array.from({ length: numRounds }, () => {
    const before = process.cpuUsage();
    let numTaken = 0;
    while (numTaken < numSteps) numTaken += step();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / numTaken;
  });
  return rounds.sort((a, b) => a - b)[Math.floor(numRounds / 2)]!;
}

const isQuick = Deno.args.includes("--quick");
const rows = COUNTS.flatMap((numSeqs) =>
  STEPS.map((maxDecodeSteps) => {
    const step = decoding(numSeqs, maxDecodeSteps);
    const numSteps = Math.max(16, Math.ceil((isQuick ? 4096 : 32_768) / numSeqs));
    return { numSeqs, maxDecodeSteps, ms: processorMs(step, numSteps, isQuick ? 1 : 5) };
  })
);
for (const { numSeqs, maxDecodeSteps, ms } of rows) {
  console.log(
    `${String(numSeqs).padStart(5)} sequences, ${maxDecodeSteps} at a time: ` +
      `${ms.toFixed(4)} ms per step`,
  );
}
console.log(JSON.stringify(rows));

import type { Batch, LogitAdjustment, ScheduledChunk } from "../core/batch.ts";
import { type DeviceKind, type EngineConfig, WARM_UP_TOKENS } from "../core/engine_config.ts";
import type { PoolGroups } from "../core/cache_group.ts";
import type { SwapSpace } from "../core/swap_space.ts";
import type { ModelRunner } from "./model_runner.ts";

/** An adjustment that changes nothing. */
const BIASED: LogitAdjustment = {
  ...{ repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 },
  tokens: Uint32Array.of(0),
  counts: Uint32Array.of(0),
  biases: Float32Array.of(0),
};

/**
 * Runs one step of every kind, so that drivers compile, and memory is cleared, before the first
 * request rather than in it.
 *
 * Writes KV into the first blocks, which no sequence holds yet.
 *
 * @param onProgress is told the share of the steps that have run.
 */
export async function warmUp(
  runner: ModelRunner,
  { blockSize, maxNumSeqs, maxNumBatchedTokens, maxDecodeSteps = 1 }: EngineConfig,
  pool: PoolGroups & {
    readonly deviceKind: DeviceKind;
    readonly numBlocks: number;
    readonly maxModelLen: number;
    readonly swapSpace?: SwapSpace | undefined;
  },
  onProgress: (share: number) => void = () => {},
): Promise<void> {
  const { deviceKind, numBlocks, maxModelLen, blocksPerSlab = [1], swapSpace } = pool;
  const most = Math.min(maxNumBatchedTokens, blockSize * numBlocks, maxModelLen);
  const draw = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };
  const chunk = (sequenceId: number, length: number): ScheduledChunk => ({
    sequenceId,
    tokens: new Uint32Array(length),
    start: 0,
    blockTables: firstBlocks(Math.ceil(length / blockSize), { numBlocks, blocksPerSlab }),
    draw: {
      ...{ ...draw, temperature: sequenceId % 2, topK: 2, topP: 0.5, numLogprobs: 1 },
      ...(sequenceId === 0 ? { adjustment: BIASED } : {}),
    },
  });
  const decodes = (count: number) => Array.from({ length: count }, (_, i) => chunk(i, 1));
  // Of other sizes run other kernels, where there are kernels.
  const compiles = deviceKind !== "cpu";
  const plans = (compiles ? [1, 3, 16] : [1]).map((count) => decodes(Math.min(count, maxNumSeqs)));
  for (const length of [...compiles ? [2, 5] : [], Math.min(WARM_UP_TOKENS[deviceKind], most)]) {
    if (length <= most) plans.push([chunk(0, length)]);
  }
  // What runs behind the first of several decode steps.
  if (maxDecodeSteps > 1 && most >= 2) {
    plans.push([{ ...chunk(1, 2), tokens: new Uint32Array(1), numDecodeSteps: 2 }]);
  }
  const copies = blocksPerSlab.flatMap((count, group) =>
    numBlocks * count > 1 ? [{ group, from: 0, to: 1, numTokens: 1 }] : []
  );
  for (const [i, chunks] of plans.entries()) {
    const numTokens = chunks.reduce((sum, { tokens }) => sum + tokens.length, 0);
    if (numTokens > maxNumBatchedTokens) continue;
    await runner.run({ step: 0, chunks, numTokens, copies } satisfies Batch);
    onProgress((i + 1) / plans.length);
  }
  const perSlab = blocksPerSlab[0]!;
  if (swapSpace !== undefined) {
    await warmUpSwap(runner, numBlocks * perSlab, swapSpace.numSlabs * perSlab);
  }
}

/** Blocks that are copied to the host and back: enough to measure a rate. */
const NUM_SWAPPED = 16;

/** Copies blocks of the first group to host memory and back, which shows how fast that is. */
async function warmUpSwap(
  runner: ModelRunner,
  numBlocks: number,
  numHostBlocks: number,
): Promise<void> {
  const count = Math.min(NUM_SWAPPED, numBlocks, numHostBlocks);
  const swapOuts = Array.from({ length: count }, (_, i) => ({ group: 0, block: i, hostBlock: i }));
  const swapIns = swapOuts.map((swap) => ({ ...swap, sequenceId: 0 }));
  for (let round = 0; round < 2; round++) {
    await runner.run({ step: 0, swapOuts, swapIns, chunks: [], numTokens: 0 });
  }
}

/** The first so many blocks of each group, in slabs of its own where the pool has enough. */
function firstBlocks(
  length: number,
  { numBlocks, blocksPerSlab }: { numBlocks: number; blocksPerSlab: readonly number[] },
): number[][] {
  const numSlabs = Math.max(...blocksPerSlab.map((count) => Math.ceil(length / count)));
  const isRoomy = numSlabs * blocksPerSlab.length <= numBlocks;
  return blocksPerSlab.map((count, group) =>
    Array.from({ length }, (_, i) => (isRoomy ? group * numSlabs * count : 0) + i)
  );
}

import { assert, assertEquals } from "@std/assert";
import type { Batch, ChunkResult, ScheduledChunk } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { buildRunner, forwardGraph } from "../../src/runner/build_runner.ts";
import { ModelRunner } from "../../src/runner/model_runner.ts";
import { defaultTuning } from "../../src/runner/default_tuning.ts";
import { layerKvs } from "../../src/runner/kv_memory.ts";
import { allocateMemory, stepLimits } from "../../src/runner/runner_memory.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { withProperties } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { demoInputs } from "../support/demo_engine.ts";

/** Contexts of 2, 4, 1, 1 and 3 splits; blocks of 16. */
const LENGTHS = [40, 100, 32, 9, 70];
const BLOCKS_PER_SEQ = 8;

const DRAW = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
  outputIndex: 0,
  numLogprobs: 20,
};

/** Sequence `i` from `start` on, to its full length. */
function chunkOf(i: number, start: number): ScheduledChunk {
  const length = LENGTHS[i]!;
  return {
    sequenceId: i,
    tokens: Uint32Array.from({ length: length - start }, (_, p) => 300 + 37 * i + 11 * (start + p)),
    start,
    blockTables: [Array.from({ length: BLOCKS_PER_SEQ }, (_, b) => BLOCKS_PER_SEQ * i + b)],
    draw: DRAW,
  };
}

function batchOf(chunks: readonly ScheduledChunk[]): Batch {
  return { step: 0, chunks, numTokens: chunks.reduce((sum, c) => sum + c.tokens.length, 0) };
}

/**
 * A step of decodes, of a chunk among them and of one that reads a block copied in it: by a runner
 * that has room for all of their splits, and by one that has not, over the same memory.
 */
async function runBothWays(device: Device, maxSplits: number) {
  const runs: { isNextForeseen: boolean }[] = [];
  const counting = withProperties(device, {
    run: <Dims>(...args: Parameters<typeof device.run<Dims>>) => {
      runs.push({ isNextForeseen: args[3]?.nextDims !== undefined });
      return device.run(...args);
    },
  });
  const inputs = await demoInputs(counting, { numBlocksOverride: 64 });
  const tuning = defaultTuning(counting, inputs.config);
  const memory = await allocateMemory(inputs);
  const whole = await buildRunner(inputs, { memory });
  const narrow = await ModelRunner.create({
    ...{ device: counting, storage: memory.storage, vocabSize: inputs.model.vocabSize },
    layers: (buffers) => layerKvs(inputs.model, inputs.config, buffers),
    graph: (kv, step) =>
      forwardGraph(inputs, { activations: { ...memory.activations, step }, kv }, tuning),
    packer: new StepPacker({ ...stepLimits(inputs, tuning), maxSplits }),
    step: memory.activations.step,
    sampled: memory.activations.sampled,
  });
  for (const i of LENGTHS.keys()) await whole.run(batchOf([chunkOf(i, 0)]));
  const batch = {
    ...batchOf([0, 1, 2, 3, 4].map((i) => chunkOf(i, i === 2 ? 20 : LENGTHS[i]! - 1))),
    copies: [{ group: 0, from: 4 * BLOCKS_PER_SEQ, to: 60, numTokens: 16 }],
  };
  const last = batch.chunks[4]!;
  const copied = { ...last, blockTables: [[60, ...last.blockTables[0]!.slice(1)]] };
  const step = { ...batch, chunks: [...batch.chunks.slice(0, 4), copied] };
  const countOf = async (runner: ModelRunner) => {
    runs.length = 0;
    let numSubmitted = 0;
    const results = await runner.run(step, () => numSubmitted++);
    const numForeseen = runs.filter(({ isNextForeseen }) => isNextForeseen).length;
    return { results, count: runs.length, numSubmitted, numForeseen };
  };
  // First, while the block that is copied to holds nothing yet.
  const inSubBatches = await countOf(narrow);
  return { narrow: inSubBatches, whole: await countOf(whole) };
}

/** Three steps of decodes, and one, of which an earlier one is computed by itself each time. */
async function checkSteps(device: Device): Promise<void> {
  const inputs = await demoInputs(device, { numBlocksOverride: 64 });
  const runner = await buildRunner(inputs);
  const prompts = batchOf(LENGTHS.map((_, i) => chunkOf(i, 0)));
  const first = await runner.run(prompts);
  const tokenOf = ({ outputs }: ChunkResult) => {
    const last = outputs.at(-1)!;
    return last.type === "token" ? last.token : -1;
  };
  const decodesOf = (results: readonly ChunkResult[], step: number) =>
    results.map((result, i) => ({
      ...chunkOf(i, LENGTHS[i]! - 1),
      tokens: Uint32Array.of(tokenOf(result)),
      start: LENGTHS[i]! + step,
      draw: { ...DRAW, temperature: i % 2, seed: i, outputIndex: 1 + step },
    }));
  const single: ChunkResult[][] = [];
  for (let step = 0; step < 3; step++) {
    single.push(await runner.run(batchOf(decodesOf(single.at(-1) ?? first, step))));
  }
  let numSubmitted = 0;
  const chunks = decodesOf(first, 0).map((chunk, i) =>
    i === 3 ? chunk : { ...chunk, numDecodeSteps: 3 }
  );
  const several = await runner.run(batchOf(chunks), () => numSubmitted++);
  const wanted = single[0]!.map(({ sequenceId }, i) => ({
    sequenceId,
    outputs: (i === 3 ? single.slice(0, 1) : single).flatMap((results) => results[i]!.outputs),
  }));
  assertEquals(several, wanted);
  assertEquals(numSubmitted, 1);
}

gpuTest("ModelRunner.run() gives the bits of single steps for several, on WebGPU", checkSteps);
Deno.test("ModelRunner.run() gives the bits of single steps for several, on the CPU", () =>
  checkSteps(new ReferenceDevice()));

async function checkSubBatches(device: Device): Promise<void> {
  const { whole, narrow } = await runBothWays(device, 5);
  assertEquals([whole.count, narrow.count], [1, 3]);
  assertEquals([whole.numSubmitted, narrow.numSubmitted], [1, 1]);
  // After a chunk of several tokens nobody knows what comes, nor after a part of a step.
  assertEquals([whole.numForeseen, narrow.numForeseen], [0, 0]);
  assertEquals(whole.results.map(({ sequenceId }) => sequenceId), [0, 1, 2, 3, 4]);
  assertEquals(narrow.results, whole.results);
  const logprobs = whole.results.map(({ outputs: [output] }) =>
    output?.type === "token" ? output.logprob : undefined
  );
  assert(new Set(logprobs).size === 5 && !logprobs.includes(undefined));
}

gpuTest(
  "ModelRunner.run() gives the same bits in one batch and in several sub-batches on WebGPU",
  checkSubBatches,
);

Deno.test("ModelRunner.run() gives the same bits in one batch and in several sub-batches on the CPU", async () => {
  await checkSubBatches(new ReferenceDevice());
});

import { NO_WORK, type StepDims } from "../../kernels/step.ts";
import { invariant } from "../base/invariant.ts";
import {
  asksForOutput,
  type Batch,
  type BlockMove,
  type ChunkResult,
  hasSwaps,
  numDecodeStepsIn,
} from "../core/batch.ts";
import type { SequenceId } from "../core/ids.ts";
import type { SwapTimes } from "../core/swap_space.ts";
import type { FurtherRun } from "../device/device.ts";
import { FurtherStepPacker } from "./further_step_packer.ts";
import type { KvDiagnosis } from "./kv_diagnosis.ts";
import { predictNextDims } from "./predict_next_dims.ts";
import type { ReadoutRunner } from "./readout_runner.ts";
import { drawnOutputs, sampledBytes } from "./sampled_rows.ts";
import type { PackedStep, StepPacker } from "./step_packer.ts";
import { type StepProgramOptions, StepPrograms } from "./step_programs.ts";
import { subBatches } from "./sub_batches.ts";
import type { SwapMemory } from "./swap_memory.ts";

/** The components of a runner; all of them exist before the first step. */
export interface RunnerComponents extends StepProgramOptions {
  readonly packer: StepPacker;
  readonly vocabSize: number;
  /** Finds where the KV of a failed sequence is not a number. */
  readonly diagnosis?: KvDiagnosis;
  /** Reads scores and sums from hidden states; without it, no chunk may ask for them. */
  readonly readouts?: ReadoutRunner;
  /** Host memory for blocks; without it, no batch may copy any there. */
  readonly swap?: SwapMemory | undefined;
}

/** The sizes of a step, and the words of its metadata where `next_step` copies them to the step. */
type FurtherDims = StepDims & { readonly numWords: number };

/** How a sub-batch is run. */
interface SubmitOptions {
  /** Whether it is the whole batch. */
  readonly isWhole: boolean;
  /** Is called while the device computes. */
  readonly onSubmitted?: (() => void) | undefined;
}

/**
 * Runs one batch: one metadata upload, one program, one small readback. Of several decode steps the
 * programs run one behind the other, in one submission; decodes with longer contexts than attention
 * has memory for take several. Never sees a queue.
 */
export class ModelRunner {
  readonly #components: RunnerComponents;
  readonly #programs: StepPrograms;
  readonly #further: FurtherStepPacker;

  private constructor(components: RunnerComponents, programs: StepPrograms) {
    this.#components = components;
    this.#programs = programs;
    this.#further = new FurtherStepPacker(components.packer);
  }

  /**
   * Compiles the graph over the pool's buffers.
   *
   * @param onProgress is told the share of the kernel calls that are compiled.
   */
  static async create(
    components: RunnerComponents,
    onProgress?: (share: number) => void,
  ): Promise<ModelRunner> {
    return new ModelRunner(components, await StepPrograms.create(components, onProgress));
  }

  /** Milliseconds spent so far waiting for the device. */
  get waitedMs(): number {
    return this.#components.device.waitedMs;
  }

  /** Milliseconds of host work so far done while the device worked. */
  get overlappedMs(): number {
    return this.#components.device.overlappedMs;
  }

  /** What copies to and from host memory have taken so far; absent where there is none. */
  get swapTimes(): SwapTimes | undefined {
    return this.#components.swap?.times;
  }

  /**
   * Computes the batch's KV, draws its tokens and reads what else its chunks ask for: one result
   * per chunk that asks for something, in chunk order. A draw without a token has failed, and says
   * where the sequence's KV is not finite. A sequence whose blocks host memory has lost has that as
   * its only output.
   *
   * @param onSubmitted is called while the device computes.
   * @throws {DeviceLostError} when the device is gone.
   */
  async run(batch: Batch, onSubmitted?: () => void): Promise<ChunkResult[]> {
    if (!hasSwaps(batch)) return await this.#run(batch, onSubmitted);
    const { swap } = this.#components;
    invariant(swap !== undefined, "a batch copies blocks to host memory, and there is none");
    const corrupt = await swap.copy(batch);
    const chunks = batch.chunks.filter(({ sequenceId }) => !corrupt.has(sequenceId));
    const numTokens = chunks.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const results = await this.#run({ ...batch, chunks, numTokens }, onSubmitted);
    return corrupt.size === 0 ? results : withCorrupt(batch, results, corrupt);
  }

  async #run(batch: Batch, onSubmitted?: () => void): Promise<ChunkResult[]> {
    const results = await this.#runSubBatches(batch, onSubmitted);
    if (!results.some(hasFailed)) return results;
    const diagnosed: ChunkResult[] = [];
    for (const result of results) diagnosed.push(await this.#diagnosed(batch, result));
    return diagnosed;
  }

  async #runSubBatches(batch: Batch, onSubmitted?: () => void): Promise<ChunkResult[]> {
    const batches = subBatches(batch, this.#components.packer.limits);
    if (batches.length === 1) return await this.#runSubBatch(batch, { isWhole: true, onSubmitted });
    const results: ChunkResult[] = [];
    for (const [i, subBatch] of batches.entries()) {
      const first = i === 0 ? { onSubmitted } : {};
      results.push(...await this.#runSubBatch(subBatch, { isWhole: false, ...first }));
    }
    return results;
  }

  async #runSubBatch(batch: Batch, submit: SubmitOptions): Promise<ChunkResult[]> {
    if (numDecodeStepsIn(batch) > 1) return await this.#runSteps(batch, submit);
    const { isWhole, onSubmitted } = submit;
    const { device, packer, sampled } = this.#components;
    const packed = packer.pack(batch);
    await this.#programs.upload(packed.words);
    const read = { buffer: sampled, bytes: Math.max(4, sampledBytes(packed.dims.numDraws)) };
    // A sub-batch is followed by the next one, not by a step like it.
    const nextDims = isWhole ? predictNextDims(packed.dims) : undefined;
    const options = { nextDims, onSubmitted };
    const words = device.run(this.#programs.forward, packed.dims, read, options);
    const drawn = this.#results(batch, packed, words instanceof Promise ? await words : words);
    return batch.chunks.some(({ score, pooling }) => (score ?? pooling) !== undefined)
      ? await this.#withReadouts(batch, drawn)
      : drawn;
  }

  /** Runs a batch of decodes with further steps, in one submission. */
  async #runSteps(
    batch: Batch,
    { isWhole, onSubmitted }: SubmitOptions,
  ): Promise<ChunkResult[]> {
    const { device, packer, sampled, vocabSize } = this.#components;
    const first = packer.pack(batch, numDecodeStepsIn(batch));
    await this.#programs.upload(first.words);
    const { words, steps, draws } = this.#further.pack(batch);
    const nextStep = await this.#programs.uploadFurther(words);
    const { forward } = this.#programs;
    const next = (dims: FurtherDims) => isWhole ? predictNextDims(dims) : undefined;
    const further = steps.flatMap(({ dims, numWords }, i): FurtherRun<FurtherDims>[] => [
      { program: nextStep[i]!, dims: { ...NO_WORK, numWords } },
      { program: forward, dims: { ...dims, numWords }, nextDims: next({ ...dims, numWords }) },
    ]);
    const numDraws = draws.reduce((sum, { length }) => sum + length, 0);
    const read = { buffer: sampled, bytes: sampledBytes(numDraws) };
    const dims = { ...first.dims, numWords: 0 };
    const options = { nextDims: next(dims), onSubmitted, further };
    const rows = await device.run<FurtherDims>(forward, dims, read, options);
    return batch.chunks.map((chunk, i) => ({
      sequenceId: chunk.sequenceId,
      outputs: drawnOutputs(chunk, draws[i]!, rows, vocabSize),
    }));
  }

  /** These results and what else chunks ask for; a failure stands alone. */
  async #withReadouts(batch: Batch, drawn: readonly ChunkResult[]): Promise<ChunkResult[]> {
    const { readouts } = this.#components;
    invariant(readouts !== undefined, "a chunk asks for scores or sums, and there are no readouts");
    const read = await readouts.read(batch, this.#programs.step);
    const next = drawn.values();
    return batch.chunks.flatMap((chunk, i) => {
      if (!asksForOutput(chunk)) return [];
      const own = chunk.draw === undefined ? [] : next.next().value!.outputs;
      const outputs = [...read.get(i) ?? [], ...own];
      const failed = outputs.filter(({ type }) => type === "failed").slice(0, 1);
      return [{
        sequenceId: chunk.sequenceId,
        outputs: failed.length > 0 ? failed : outputs,
      }];
    });
  }

  /** The result with its failure described, which overwrites the step's metadata. */
  async #diagnosed(batch: Batch, result: ChunkResult): Promise<ChunkResult> {
    const { packer, diagnosis } = this.#components;
    if (!hasFailed(result) || diagnosis === undefined) return result;
    const chunk = batch.chunks.find(({ sequenceId }) => sequenceId === result.sequenceId)!;
    const {
      draw: _draw,
      score: _score,
      pooling: _pooling,
      numDecodeSteps: _numDecodeSteps,
      ...rest
    } = chunk;
    const { tokens } = chunk;
    const drawn = result.outputs.slice(0, -1);
    // Of several steps, the one that has failed.
    const start = chunk.start + drawn.length;
    const failing = { ...rest, start };
    const { words } = packer.pack({ step: 0, chunks: [failing], numTokens: tokens.length });
    await this.#programs.upload(words);
    const failed = { start, numTokens: start + tokens.length };
    const failure = await diagnosis.failure(failed, this.#programs.step, this.#programs.kv);
    return { ...result, outputs: [...drawn, { type: "failed", failure }] };
  }

  /**
   * Gives the KV pool `numBlocks` blocks between two steps; those below both sizes keep their
   * contents.
   *
   * @param moves of blocks beyond the new end to ids below it, made before memory goes.
   * @throws {RangeError} when the device has no room; the pool is as it was. A smaller one always
   * fits.
   */
  async resizeKv(numBlocks: number, moves: readonly BlockMove[] = []): Promise<void> {
    await this.#move(moves);
    try {
      await this.#components.storage.resize(numBlocks);
    } finally {
      // Some of the buffers are new even after a failure.
      await this.#programs.recompile();
    }
  }

  /** Releases the device and everything on it; nothing can be run afterwards. Idempotent. */
  destroy(): void {
    this.#components.device.destroy();
  }

  /** Carries moves out in steps that compute nothing. */
  async #move(moves: readonly BlockMove[]): Promise<void> {
    const { maxSeqs: most, blockSize: numTokens } = this.#components.packer.limits;
    for (let at = 0; at < moves.length; at += most) {
      const copies = moves.slice(at, at + most).map((move) => ({ ...move, numTokens }));
      await this.run({ step: 0, copies, chunks: [], numTokens: 0 });
    }
  }

  #results(batch: Batch, { sampledChunks }: PackedStep, rows: Uint32Array): ChunkResult[] {
    const results = sampledChunks.map((index, i) => {
      const chunk = batch.chunks[index]!;
      const outputs = drawnOutputs(chunk, [i], rows, this.#components.vocabSize);
      return { index, result: { sequenceId: chunk.sequenceId, outputs } };
    });
    return results.sort((a, b) => a.index - b.index).map(({ result }) => result);
  }
}

/** The results of what was computed, and that some chunks' blocks are corrupt, in chunk order. */
function withCorrupt(
  { chunks }: Batch,
  results: readonly ChunkResult[],
  corrupt: ReadonlySet<SequenceId>,
): ChunkResult[] {
  const byId = new Map(results.map((result) => [result.sequenceId, result]));
  return chunks.flatMap(({ sequenceId }) => {
    if (corrupt.has(sequenceId)) return [{ sequenceId, outputs: [{ type: "corrupt" as const }] }];
    const result = byId.get(sequenceId);
    return result === undefined ? [] : [result];
  });
}

function hasFailed({ outputs }: ChunkResult): boolean {
  return outputs.some(({ type }) => type === "failed");
}

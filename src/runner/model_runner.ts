import { nextStepCall } from "../../kernels/sampling/next_step.ts";
import { NO_TOKEN } from "../../kernels/sampling/segments.ts";
import { NO_WORK, SAMPLED, SAMPLED_WORDS, type StepDims } from "../../kernels/step.ts";
import { invariant } from "../base/invariant.ts";
import {
  asksForOutput,
  type Batch,
  type BlockMove,
  type ChunkOutput,
  type ChunkResult,
  MAX_DECODE_STEPS,
  numPlanSteps,
  type ScheduledChunk,
} from "../core/batch.ts";
import type { SequenceId } from "../core/ids.ts";
import type { SwapTimes } from "../core/swap_space.ts";
import type { Device, FurtherRun, Program } from "../device/device.ts";
import { bitsToF32 } from "../device/half.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import type { GraphInputs } from "../../models/model.ts";
import { FurtherStepPacker } from "./further_steps.ts";
import type { KvDiagnosis } from "./kv_diagnosis.ts";
import type { KvStorage } from "./kv_storage.ts";
import { predictNextDims } from "./predict_next_dims.ts";
import { type RowReader, topLogprobs } from "./row_reader.ts";
import type { PackedStep, StepPacker } from "./step_packer.ts";
import { subBatches } from "./sub_batches.ts";
import type { SwapMemory } from "./swap_memory.ts";

/** The components of a runner; all of them exist before the first step. */
export interface RunnerComponents {
  readonly device: Device;
  readonly storage: KvStorage;
  /** Where each layer's KV lies in the pool's buffers. */
  readonly layers: (slots: readonly DeviceBuffer[]) => GraphInputs["kv"];
  /** The forward pass over the KV of all layers, and the step metadata it reads. */
  readonly graph: (kv: GraphInputs["kv"], step: DeviceBuffer) => readonly KernelCall<StepDims>[];
  readonly packer: StepPacker;
  /** Metadata of the steps to come; replaced by a larger one when adjustments need it. */
  readonly step: DeviceBuffer;
  readonly sampled: DeviceBuffer;
  readonly vocabSize: number;
  /** Finds where the KV of a failed sequence is not a number. */
  readonly diagnosis?: KvDiagnosis;
  /** Reads scores and sums from hidden states; without it, no chunk may ask for them. */
  readonly reader?: RowReader;
  /** Host memory for blocks; without it, no batch may copy any there. */
  readonly swap?: SwapMemory | undefined;
}

/** The sizes of a step, and the words of its metadata where another program puts them in place. */
type FurtherDims = StepDims & { readonly numWords: number };

/** What begins the further steps of a plan, over the buffers it was compiled for. */
interface FurtherPrograms {
  readonly step: DeviceBuffer;
  /** The steps' metadata. */
  readonly further: DeviceBuffer;
  readonly nextStep: readonly Program<{ readonly numWords: number }>[];
}

/** Room for the metadata of further steps that is made at first. */
const MIN_FURTHER_BYTES = 2 ** 17;

/**
 * Runs one batch: one metadata upload, one program, one small readback. Of several decode steps the
 * programs run one behind the other, in one submission; decodes with longer contexts than attention
 * has memory for take several. Never sees a queue.
 */
export class ModelRunner {
  readonly #components: RunnerComponents;
  readonly #further: FurtherStepPacker;
  #program: Program<StepDims>;
  #step: DeviceBuffer;
  #furtherPrograms: FurtherPrograms | undefined;

  private constructor(components: RunnerComponents, program: Program<StepDims>) {
    this.#components = components;
    this.#further = new FurtherStepPacker(components.packer);
    this.#program = program;
    this.#step = components.step;
  }

  /** Compiles the graph over the pool's buffers. */
  /** @param onProgress is told the share of the kernel calls that are compiled. */
  static async create(
    components: RunnerComponents,
    onProgress?: (share: number) => void,
  ): Promise<ModelRunner> {
    const { device, graph, layers, storage, step } = components;
    const program = await device.compile(graph(layers(storage.buffers), step), onProgress);
    return new ModelRunner(components, program);
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
   * per chunk that asks for something, in chunk order; where no token can be drawn it has failed,
   * and says where the sequence's KV is no number. Of a sequence whose blocks host memory has not
   * kept, the one output says so, whatever its chunk asks for. `onSubmitted` is called while the
   * device computes.
   *
   * @throws {DeviceLostError} when the device is gone.
   */
  async run(batch: Batch, onSubmitted?: () => void): Promise<ChunkResult[]> {
    if ((batch.swapOuts ?? batch.swapIns) === undefined) return await this.#run(batch, onSubmitted);
    const { swap } = this.#components;
    invariant(swap !== undefined, "blocks are to be copied to host memory that there is not");
    const corrupt = await swap.carryOut(batch);
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

  async #runSubBatch(
    batch: Batch,
    { isWhole, onSubmitted }: { isWhole: boolean; onSubmitted?: (() => void) | undefined },
  ): Promise<ChunkResult[]> {
    const { device, packer, sampled } = this.#components;
    if (numPlanSteps(batch) > 1) {
      return await this.#runSteps(batch, { isWhole, onSubmitted });
    }
    const packed = packer.pack(batch);
    await this.#upload(packed);
    const bytes = Math.max(4, packed.dims.numDraws * SAMPLED_WORDS * 4);
    // A sub-batch is followed by the next one, not by a step like it.
    const nextDims = isWhole ? predictNextDims(packed.dims) : undefined;
    const options = { nextDims, onSubmitted };
    const words = device.run(this.#program, packed.dims, { buffer: sampled, bytes }, options);
    const drawn = this.#results(batch, packed, words instanceof Promise ? await words : words);
    return batch.chunks.some(({ score, pooling }) => (score ?? pooling) !== undefined)
      ? await this.#withReadouts(batch, drawn)
      : drawn;
  }

  /** Runs a batch of decodes with further steps, in one submission. */
  async #runSteps(
    batch: Batch,
    { isWhole, onSubmitted }: { isWhole: boolean; onSubmitted?: (() => void) | undefined },
  ): Promise<ChunkResult[]> {
    const { device, packer, sampled } = this.#components;
    const first = packer.pack(batch, numPlanSteps(batch));
    await this.#upload(first);
    const { words, steps, draws } = this.#further.pack(batch);
    const programs = await this.#furtherProgramsFor(words.byteLength);
    device.write(programs.further, 0, words);
    const next = (dims: FurtherDims) => isWhole ? predictNextDims(dims) : undefined;
    const further = steps.flatMap(({ dims, numWords }, i): FurtherRun<FurtherDims>[] => [
      { program: programs.nextStep[i]!, dims: { ...NO_WORK, numWords } },
      {
        program: this.#program,
        dims: { ...dims, numWords },
        nextDims: next({ ...dims, numWords }),
      },
    ]);
    const numDraws = draws.reduce((sum, { length }) => sum + length, 0);
    const read = { buffer: sampled, bytes: numDraws * SAMPLED_WORDS * 4 };
    const dims = { ...first.dims, numWords: 0 };
    const options = { nextDims: next(dims), onSubmitted, further };
    const rows = await device.run<FurtherDims>(this.#program, dims, read, options);
    return batch.chunks.map((chunk, i) => ({
      sequenceId: chunk.sequenceId,
      outputs: this.#outputsOf(chunk, draws[i]!, rows),
    }));
  }

  /** These results and what else chunks ask for; a failure stands alone. */
  async #withReadouts(batch: Batch, drawn: readonly ChunkResult[]): Promise<ChunkResult[]> {
    const { reader } = this.#components;
    invariant(reader !== undefined, "a chunk asks for what nothing reads");
    const read = await reader.read(batch, this.#step);
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
    const { device, packer, storage, layers, diagnosis } = this.#components;
    if (!hasFailed(result) || diagnosis === undefined) return result;
    const chunk = batch.chunks.find(({ sequenceId }) => sequenceId === result.sequenceId)!;
    const { draw: _sample, score: _score, pooling: _pool, numSteps: _numSteps, ...rest } = chunk;
    const { tokens } = chunk;
    const drawn = result.outputs.slice(0, -1);
    // Of several steps, the one that has failed.
    const start = chunk.start + drawn.length;
    const failing = { ...rest, start };
    const { words } = packer.pack({ step: 0, chunks: [failing], numTokens: tokens.length });
    device.write(this.#step, 0, words);
    const failed = { start, numTokens: start + tokens.length };
    const failure = await diagnosis.failure(failed, this.#step, layers(storage.buffers));
    return { ...result, outputs: [...drawn, { type: "failed", failure }] };
  }

  /**
   * Gives the KV pool `numBlocks` blocks between two steps; those below both sizes keep their
   * contents.
   *
   * @param moves carried out before memory goes: blocks beyond the new end, and where they go below
   * it.
   * @throws {RangeError} when the device has no room; the pool is as it was. A smaller one always
   * fits.
   */
  async resizeKv(numBlocks: number, moves: readonly BlockMove[] = []): Promise<void> {
    const { device, storage, layers, graph } = this.#components;
    await this.#move(moves);
    try {
      await storage.resize(numBlocks);
    } finally {
      // Bind groups name buffers, and some of these are new even after a failure.
      this.#program = await device.compile(graph(layers(storage.buffers), this.#step));
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

  /** Hands the device a step's metadata. */
  async #upload({ words }: PackedStep): Promise<void> {
    if (words.byteLength > this.#step.bytes) await this.#growStep(words.byteLength);
    this.#components.device.write(this.#step, 0, words);
  }

  /**
   * The programs that begin further steps, over buffers with room for so much metadata; for twice
   * as much where they are new, so that this is done a few times at most.
   */
  async #furtherProgramsFor(bytes: number): Promise<FurtherPrograms> {
    const known = this.#furtherPrograms;
    if (known?.step === this.#step && bytes <= known.further.bytes) return known;
    const { device, sampled } = this.#components;
    const step = this.#step;
    const further = await device.createBuffer("further", Math.max(2 * bytes, MIN_FURTHER_BYTES));
    const nextStep: Program<{ readonly numWords: number }>[] = [];
    for (let index = 0; index < MAX_DECODE_STEPS - 1; index++) {
      nextStep.push(await device.compile([nextStepCall(index, { further, sampled, step })]));
    }
    if (known !== undefined) device.destroyBuffer(known.further);
    return this.#furtherPrograms = { step, further, nextStep };
  }

  /**
   * Between two steps: at least doubles the metadata's buffer, so that this is done a few times at
   * most.
   */
  async #growStep(bytes: number): Promise<void> {
    const { device, graph, layers, storage } = this.#components;
    const old = this.#step;
    const step = await device.createBuffer(old.label, Math.max(bytes, 2 * old.bytes));
    this.#program = await device.compile(graph(layers(storage.buffers), step));
    this.#step = step;
    device.destroyBuffer(old);
  }

  #results(batch: Batch, { sampledChunks }: PackedStep, rows: Uint32Array): ChunkResult[] {
    const results = sampledChunks.map((index, i) => {
      const chunk = batch.chunks[index]!;
      const { sequenceId } = chunk;
      return { index, result: { sequenceId, outputs: this.#outputsOf(chunk, [i], rows) } };
    });
    return results.sort((a, b) => a.index - b.index).map(({ result }) => result);
  }

  /** The draws of a chunk in order, by their rows of `sampled`, until one fails. */
  #outputsOf(
    { sequenceId, draw }: ScheduledChunk,
    draws: readonly number[],
    rows: Uint32Array,
  ): ChunkOutput[] {
    const outputs: ChunkOutput[] = [];
    for (const i of draws) {
      const row = rows.subarray(i * SAMPLED_WORDS, (i + 1) * SAMPLED_WORDS);
      const token = row[SAMPLED.token]!;
      if (token === NO_TOKEN) {
        outputs.push({ type: "failed", failure: { numSoundTokens: 0 } });
        return outputs;
      }
      invariant(token < this.#components.vocabSize, `sequence ${sequenceId} drew token ${token}`);
      const logprobs = draw!.numLogprobs === undefined ? {} : {
        logprob: bitsToF32(row[SAMPLED.logprob]!),
        topLogprobs: topLogprobs(row, draw!.numLogprobs),
      };
      outputs.push({ type: "token", token, ...logprobs });
    }
    return outputs;
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

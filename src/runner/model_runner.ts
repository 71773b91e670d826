import { NO_TOKEN } from "../../kernels/sampling/segments.ts";
import { SAMPLED, SAMPLED_WORDS, type StepDims } from "../../kernels/step.ts";
import { invariant } from "../base/invariant.ts";
import {
  asksForOutput,
  type Batch,
  type BlockMove,
  type ChunkOutput,
  type ChunkResult,
} from "../core/batch.ts";
import type { SequenceId } from "../core/ids.ts";
import type { SwapTimes } from "../core/swap_space.ts";
import type { Device, Program } from "../device/device.ts";
import { bitsToF32 } from "../device/half.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import type { GraphInputs } from "../../models/model.ts";
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

/**
 * Runs one batch: one metadata upload, one program, one small readback; of decodes with longer
 * contexts than attention has memory for, several of each. Never sees a queue.
 */
export class ModelRunner {
  readonly #components: RunnerComponents;
  #program: Program<StepDims>;
  #step: DeviceBuffer;

  private constructor(components: RunnerComponents, program: Program<StepDims>) {
    this.#components = components;
    this.#program = program;
    this.#step = components.step;
  }

  /** Compiles the graph over the pool's buffers. */
  static async create(components: RunnerComponents): Promise<ModelRunner> {
    const { device, graph, layers, storage, step } = components;
    return new ModelRunner(components, await device.compile(graph(layers(storage.buffers), step)));
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
    const lost = await swap.carryOut(batch);
    const chunks = batch.chunks.filter(({ sequenceId }) => !lost.has(sequenceId));
    const numTokens = chunks.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const results = await this.#run({ ...batch, chunks, numTokens }, onSubmitted);
    return lost.size === 0 ? results : withLost(batch, results, lost);
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
    const packed = packer.pack(batch);
    if (packed.words.byteLength > this.#step.bytes) await this.#growStep(packed.words.byteLength);
    device.write(this.#step, 0, packed.words);
    const bytes = Math.max(4, packed.dims.numSamples * SAMPLED_WORDS * 4);
    // A sub-batch is followed by the next one, not by a step like it.
    const nextDims = isWhole ? predictNextDims(packed.dims) : undefined;
    const options = { nextDims, onSubmitted };
    const words = device.run(this.#program, packed.dims, { buffer: sampled, bytes }, options);
    const drawn = this.#results(batch, packed, words instanceof Promise ? await words : words);
    return batch.chunks.some(({ score, pool }) => (score ?? pool) !== undefined)
      ? await this.#withReadouts(batch, drawn)
      : drawn;
  }

  /** These results and what else chunks ask for; a failure stands alone. */
  async #withReadouts(batch: Batch, drawn: readonly ChunkResult[]): Promise<ChunkResult[]> {
    const { reader } = this.#components;
    invariant(reader !== undefined, "a chunk asks for what nothing reads");
    const read = await reader.read(batch, this.#step);
    const next = drawn.values();
    return batch.chunks.flatMap((chunk, i) => {
      if (!asksForOutput(chunk)) return [];
      const own = chunk.sample === undefined ? [] : next.next().value!.outputs;
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
    const { sample: _sample, score: _score, pool: _pool, ...rest } = chunk;
    const { words } = packer.pack({ step: 0, chunks: [rest], numTokens: chunk.tokens.length });
    device.write(this.#step, 0, words);
    const { start } = chunk;
    const failed = { start, numTokens: start + chunk.tokens.length };
    const failure = await diagnosis.failure(failed, this.#step, layers(storage.buffers));
    return { ...result, outputs: [{ type: "failed", failure }] };
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

  #results(batch: Batch, { sampledChunks }: PackedStep, words: Uint32Array): ChunkResult[] {
    const results = sampledChunks.map((chunk, i) => {
      const row = words.subarray(i * SAMPLED_WORDS, (i + 1) * SAMPLED_WORDS);
      const { sequenceId, sample } = batch.chunks[chunk]!;
      const token = row[SAMPLED.token]!;
      if (token === NO_TOKEN) {
        const failed: ChunkOutput = { type: "failed", failure: { numSoundTokens: 0 } };
        return { chunk, result: { sequenceId, outputs: [failed] } };
      }
      invariant(token < this.#components.vocabSize, `sequence ${sequenceId} drew token ${token}`);
      const logprobs = sample!.numLogprobs === undefined ? {} : {
        logprob: bitsToF32(row[SAMPLED.logprob]!),
        topLogprobs: topLogprobs(row, sample!.numLogprobs),
      };
      const drawn: ChunkOutput = { type: "token", token, ...logprobs };
      return { chunk, result: { sequenceId, outputs: [drawn] } };
    });
    return results.sort((a, b) => a.chunk - b.chunk).map(({ result }) => result);
  }
}

/** The results of what was computed, and that some chunks' blocks are lost, in chunk order. */
function withLost(
  { chunks }: Batch,
  results: readonly ChunkResult[],
  lost: ReadonlySet<SequenceId>,
): ChunkResult[] {
  const byId = new Map(results.map((result) => [result.sequenceId, result]));
  return chunks.flatMap(({ sequenceId }) => {
    if (lost.has(sequenceId)) return [{ sequenceId, outputs: [{ type: "lost" as const }] }];
    const result = byId.get(sequenceId);
    return result === undefined ? [] : [result];
  });
}

function hasFailed({ outputs }: ChunkResult): boolean {
  return outputs.some(({ type }) => type === "failed");
}

import type { PoolDims } from "../../kernels/norm/pool_rows.ts";
import {
  DRAW_WORDS,
  HEADER_WORDS,
  NO_WORK,
  POOLING,
  POOLING_WORDS,
  STEP,
  type StepDims,
} from "../../kernels/step.ts";
import type { Batch, ChunkOutput, DrawRequest, PoolingRequest, TokenScore } from "../core/batch.ts";
import type { TokenId } from "../core/ids.ts";
import type { Device, Program, RangeReader } from "../device/device.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import { putDraw } from "./draw_words.ts";
import { hasNoToken, logprobOf, sampledBytes, sampledRow, topLogprobs } from "./sampled_rows.ts";
import { decodesFirst } from "./step_packer.ts";

/** What readouts work with: the buffers of the steps, and what runs over them. */
export interface ReadoutOptions {
  readonly device: Device;
  /** Most rows that are scored, and runs that are summed up, by one program. */
  readonly maxSeqs: number;
  readonly hiddenSize: number;
  /** u32 [R, SAMPLED_WORDS]. */
  readonly sampled: DeviceBuffer;
  /** f32 [B, E]. */
  readonly pooled: DeviceBuffer;
  /** Logits and draws of a step's draws, from hidden states that are there. */
  readonly scores: (step: DeviceBuffer) => readonly KernelCall<StepDims>[];
  /** Sums of a step's poolings. */
  readonly poolings: (step: DeviceBuffer) => readonly KernelCall<PoolDims>[];
}

/** A token whose log-probability is asked for, by its row in the step. */
interface RowScore {
  readonly chunk: number;
  readonly row: number;
  readonly token: TokenId;
  readonly numLogprobs: number;
}

/** A run of rows of the step, from `row` on. */
interface RowPooling {
  readonly chunk: number;
  readonly row: number;
  readonly pooling: PoolingRequest;
}

/** The programs over one buffer of metadata. */
interface Programs {
  readonly step: DeviceBuffer;
  readonly scores: Program<StepDims>;
  readonly poolings: Program<PoolDims>;
}

/** Most bytes of sums that are read at a time, unless one has more. */
const MAX_READ_BYTES = 8 * 2 ** 20;

const GREEDY: DrawRequest = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 },
};

const FAILED: ChunkOutput = { type: "failed", failure: { numSoundTokens: 0 } };

/**
 * Makes scores and sums of the hidden states that a step has left on the device, for chunks that
 * ask for them: programs of their own behind the step's, over memory that the step needs no more.
 * Logits of a long prompt are so never there all at once, and steps without such chunks cost no
 * more.
 */
export class ReadoutRunner {
  readonly #options: ReadoutOptions;
  #programs: Programs | undefined;
  #sums: RangeReader | undefined;

  constructor(options: ReadoutOptions) {
    this.#options = options;
  }

  /**
   * The outputs of the batch that has just run, by chunk: the scores of a chunk before its sum, or
   * a failure where a number is not finite. Overwrites the metadata in `step`.
   *
   * @throws {DeviceLostError} when the device is gone.
   */
  async read(batch: Batch, step: DeviceBuffer): Promise<ReadonlyMap<number, ChunkOutput[]>> {
    const outputs = new Map<number, ChunkOutput[]>();
    const { scores, poolings } = rowsOf(batch);
    if (scores.length === 0 && poolings.length === 0) return outputs;
    const programs = await this.#programsOver(step);
    await this.#score(scores, programs, outputs);
    await this.#sumUp(poolings, batch.numTokens, programs, outputs);
    return outputs;
  }

  async #programsOver(step: DeviceBuffer): Promise<Programs> {
    if (this.#programs?.step === step) return this.#programs;
    const { device, scores, poolings } = this.#options;
    return this.#programs = {
      step,
      scores: await device.compile(scores(step)),
      poolings: await device.compile(poolings(step)),
    };
  }

  async #score(
    scores: readonly RowScore[],
    { step, scores: program }: Programs,
    outputs: Map<number, ChunkOutput[]>,
  ): Promise<void> {
    const { device, maxSeqs, sampled } = this.#options;
    const byChunk = new Map<number, TokenScore[]>();
    for (let at = 0; at < scores.length; at += maxSeqs) {
      const some = scores.slice(at, at + maxSeqs);
      device.write(step, 0, scoreWords(some));
      const dims: StepDims = {
        ...NO_WORK,
        numDraws: some.length,
        numLogprobDraws: some.length,
      };
      const read = { buffer: sampled, bytes: sampledBytes(some.length) };
      const words = await device.run(program, dims, read);
      some.forEach((one, i) => {
        const row = sampledRow(words, i);
        if (hasNoToken(row)) outputs.set(one.chunk, [FAILED]);
        const own = byChunk.get(one.chunk) ?? [];
        own.push(scoreOf(row, one));
        byChunk.set(one.chunk, own);
      });
    }
    for (const [chunk, own] of byChunk) {
      if (!outputs.has(chunk)) outputs.set(chunk, [{ type: "scores", scores: own }]);
    }
  }

  async #sumUp(
    poolings: readonly RowPooling[],
    numTokens: number,
    { step, poolings: program }: Programs,
    outputs: Map<number, ChunkOutput[]>,
  ): Promise<void> {
    if (poolings.length === 0) return;
    const { device, hiddenSize: E, pooled } = this.#options;
    device.write(step, 0, poolingWords(poolings, numTokens));
    const before = new Float32Array(poolings.length * E);
    poolings.forEach(({ pooling }, i) => {
      if (pooling.before !== undefined) before.set(pooling.before, i * E);
    });
    device.write(pooled, 0, new Uint32Array(before.buffer));
    const dims: StepDims & PoolDims = { ...NO_WORK, numTokens, numPoolings: poolings.length };
    // All sums may be more than a run reads back.
    await device.run(program, dims, { buffer: pooled, bytes: 4 });
    const sums = await this.#readSums(poolings.length);
    poolings.forEach(({ chunk }, i) => {
      const sum = sums.slice(i * E, (i + 1) * E);
      const others = outputs.get(chunk) ?? [];
      if (others.includes(FAILED)) return;
      outputs.set(
        chunk,
        sum.every(Number.isFinite) ? [...others, { type: "pooled", sum }] : [FAILED],
      );
    });
  }

  /** The first `count` rows of `pooled`. */
  async #readSums(count: number): Promise<Float32Array> {
    const { device, maxSeqs, hiddenSize: E, pooled } = this.#options;
    const bytesOf = (rows: number) => 4 * E * rows;
    const wanted = Math.min(bytesOf(maxSeqs), MAX_READ_BYTES);
    this.#sums ??= await device.createReader(Math.max(bytesOf(1), wanted));
    const most = Math.floor(this.#sums.bytes / bytesOf(1));
    const sums = new Float32Array(count * E);
    for (let at = 0; at < count; at += most) {
      const bytes = bytesOf(Math.min(most, count - at));
      const read = this.#sums.read([{ buffer: pooled, byteOffset: bytesOf(at), bytes }]);
      const words = read instanceof Promise ? await read : read;
      sums.set(new Float32Array(words.buffer, words.byteOffset, words.length), at * E);
    }
    return sums;
  }
}

/** What a batch asks for, by rows of its step. */
function rowsOf({ chunks }: Batch): { scores: RowScore[]; poolings: RowPooling[] } {
  const scores: RowScore[] = [];
  const poolings: RowPooling[] = [];
  let first = 0;
  for (const chunk of decodesFirst(chunks)) {
    const { tokens, score, pooling } = chunks[chunk]!;
    score?.rows.forEach((row, i) => {
      const { numLogprobs } = score;
      scores.push({ chunk, row: first + row, token: score.tokens[i]!, numLogprobs });
    });
    if (pooling !== undefined) poolings.push({ chunk, row: first + pooling.firstRow, pooling });
    first += tokens.length;
  }
  return { scores, poolings };
}

/** A step of nothing but draws. */
function scoreWords(scores: readonly RowScore[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(HEADER_WORDS + scores.length * DRAW_WORDS);
  words[STEP.numDraws] = scores.length;
  words[STEP.draws] = HEADER_WORDS;
  scores.forEach(({ row, token, numLogprobs }, i) => {
    const draw = { ...GREEDY, numLogprobs };
    putDraw(words, HEADER_WORDS + i * DRAW_WORDS, { draw, row, forced: token });
  });
  return words;
}

/** A step of nothing but poolings, with so many rows. */
function poolingWords(
  poolings: readonly RowPooling[],
  numTokens: number,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(HEADER_WORDS + poolings.length * POOLING_WORDS);
  words[STEP.numTokens] = numTokens;
  words[STEP.numPoolings] = poolings.length;
  words[STEP.poolings] = HEADER_WORDS;
  poolings.forEach(({ row, pooling }, i) => {
    const at = HEADER_WORDS + i * POOLING_WORDS;
    words[at + POOLING.firstRow] = row;
    words[at + POOLING.numRows] = pooling.numRows;
  });
  return words;
}

function scoreOf(row: Uint32Array, { token, numLogprobs }: RowScore): TokenScore {
  return { token, logprob: logprobOf(row), topLogprobs: topLogprobs(row, numLogprobs) };
}

import {
  COPY,
  COPY_WORDS,
  HEADER_WORDS,
  SAMPLE,
  SAMPLE_WORDS,
  SEQ,
  SEQ_WORDS,
  STEP,
  type StepDims,
  TILE,
  TILE_WORDS,
} from "../../kernels/step.ts";
import { invariant } from "../base/invariant.ts";
import { ceilDiv } from "../base/math.ts";
import type { Batch, BlockCopy, SampleRequest, ScheduledChunk } from "../core/batch.ts";
import { MIN_TEMPERATURE } from "../core/sampling_params.ts";
import { f32ToBits } from "../device/half.ts";
import { adjustmentWords, putAdjustments } from "./adjustment_words.ts";
import type { StepLimits } from "./step_limits.ts";
import { isDecode, splitsOf } from "./sub_batches.ts";

/** One step as the kernels read it. */
export interface PackedStep {
  /** The metadata words; valid until the next `pack`. May be more than in any step before. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly dims: StepDims;
  /** Which of the batch's chunks each draw belongs to, in order of the draws. */
  readonly sampledChunks: readonly number[];
}

/** Words reserved per sequence for the adjustments of its draw: some 170 tokens. */
const ADJUSTMENT_ROOM = 512;

/** Sizes of the regions that are computed while packing. */
type RegionCounts = Pick<StepDims, "numDecodes" | "numSplits" | "numTiles" | "numSamples">;

/**
 * Words of metadata that a step of these limits needs at most, as long as the adjustments of its
 * draws take no more than 512 words per sequence. Larger ones make the packer's words grow.
 */
export function maxStepWords(
  { maxTokens, maxSeqs, maxBlocksPerSeq, maxSplits }: StepLimits,
): number {
  return HEADER_WORDS + 3 * maxTokens + maxTokens * TILE_WORDS + maxSplits +
    maxSeqs * (SEQ_WORDS + SAMPLE_WORDS + COPY_WORDS + maxBlocksPerSeq + ADJUSTMENT_ROOM);
}

/**
 * Writes batches as packed step metadata (`kernels/step.ts`) into one reused array.
 *
 * Beside {@link maxStepWords}, a step can need 3 words per token that is penalized or biased, at
 * most those of a sequence's context plus what its request names, and one word per 32 tokens of the
 * vocabulary for each bitmask.
 */
export class StepPacker {
  #limits: StepLimits;
  #words: Uint32Array<ArrayBuffer>;

  constructor(limits: StepLimits) {
    this.#limits = limits;
    this.#words = new Uint32Array(maxStepWords(limits));
  }

  /** The largest step it packs. */
  get limits(): StepLimits {
    return this.#limits;
  }

  /** Rows are ordered decodes first; draws follow the rows. */
  pack(batch: Batch): PackedStep {
    const order = decodesFirst(batch.chunks);
    const numDecodes = batch.chunks.filter(isDecode).length;
    const sampledChunks = order.filter((i) => batch.chunks[i]!.sample !== undefined);
    const numTiles = order.slice(numDecodes)
      .reduce((n, i) => n + ceilDiv(batch.chunks[i]!.tokens.length, this.#limits.queryTile), 0);
    const samples = sampledChunks.map((i) => batch.chunks[i]!.sample!);
    const numSplitsIn = (numTokens: number) =>
      batch.chunks.reduce((n, chunk) => n + splitsOf(chunk, this.#limits, numTokens), 0);
    const numSplits = numSplitsIn(0);
    this.#reserve(adjustmentWords(samples));
    const numSamples = samples.length;
    const header = this.#header(batch, { numDecodes, numSplits, numTiles, numSamples });
    const tablesEnd = this.#fill(batch.chunks, order, header, numDecodes);
    const { end, ...adjustments } = putAdjustments(this.#words, tablesEnd, samples);
    return {
      words: this.#words.subarray(0, end),
      dims: {
        numTokens: batch.numTokens,
        numDecodes,
        numSplits,
        numNextSplits: numSplitsIn(1),
        numTiles,
        numSamples,
        numCopies: batch.copies?.length ?? 0,
        numReports: samples.filter(({ numLogprobs }) => numLogprobs !== undefined).length,
        ...adjustments,
      },
      sampledChunks,
    };
  }

  /** Makes room for a step with so many words of adjustments; what the array held is lost. */
  #reserve(numWords: number): void {
    const { maxSeqs } = this.#limits;
    const needed = maxStepWords(this.#limits) - maxSeqs * ADJUSTMENT_ROOM + numWords;
    if (needed <= this.#words.length) return;
    this.#words = new Uint32Array(Math.max(needed, 2 * this.#words.length));
  }

  /** Lays the regions out and returns the header, whose offsets say where they begin. */
  #header(batch: Batch, regions: RegionCounts): Uint32Array {
    const { numTokens, chunks } = batch;
    const { numSplits, numTiles, numSamples } = regions;
    const { maxTokens, maxSeqs, maxSplits } = this.#limits;
    const numCopies = batch.copies?.length ?? 0;
    invariant(numTokens <= maxTokens, `step of ${numTokens} tokens, made for ${maxTokens}`);
    invariant(chunks.length <= maxSeqs, `step of ${chunks.length} chunks, made for ${maxSeqs}`);
    invariant(numSplits <= maxSplits, `step of ${numSplits} splits, made for ${maxSplits}`);
    invariant(numCopies <= maxSeqs, `step of ${numCopies} copies, made for ${maxSeqs}`);
    const header = this.#words.subarray(0, HEADER_WORDS);
    const counts = { numTokens, numSeqs: chunks.length, numCopies, ...regions };
    for (const [name, count] of Object.entries(counts)) {
      header[STEP[name as keyof typeof counts]] = count;
    }
    header[STEP.tokens] = HEADER_WORDS;
    header[STEP.positions] = header[STEP.tokens]! + numTokens;
    header[STEP.slots] = header[STEP.positions]! + numTokens;
    header[STEP.seqs] = header[STEP.slots]! + numTokens;
    header[STEP.splits] = header[STEP.seqs]! + chunks.length * SEQ_WORDS;
    header[STEP.tiles] = header[STEP.splits]! + numSplits;
    header[STEP.samples] = header[STEP.tiles]! + numTiles * TILE_WORDS;
    header[STEP.copies] = header[STEP.samples]! + numSamples * SAMPLE_WORDS;
    this.#putCopies(batch.copies ?? [], header[STEP.copies]!);
    return header;
  }

  #putCopies(copies: readonly BlockCopy[], at: number): void {
    copies.forEach(({ from, to }, i) => {
      this.#words[at + i * COPY_WORDS + COPY.from] = from;
      this.#words[at + i * COPY_WORDS + COPY.to] = to;
    });
  }

  /** Fills the regions in row order; returns the number of words in use. */
  #fill(
    chunks: readonly ScheduledChunk[],
    order: readonly number[],
    header: Uint32Array,
    numDecodes: number,
  ): number {
    let row = 0;
    let split = 0;
    let tile = header[STEP.tiles]!;
    let sample = header[STEP.samples]!;
    let table = header[STEP.copies]! + header[STEP.numCopies]! * COPY_WORDS;
    order.forEach((i, seq) => {
      const chunk = chunks[i]!;
      this.#putRows(chunk, row, header);
      this.#putSeq(chunk, header[STEP.seqs]! + seq * SEQ_WORDS, { row, table, split });
      const splitsEnd = split + splitsOf(chunk, this.#limits);
      this.#words.fill(seq, header[STEP.splits]! + split, header[STEP.splits]! + splitsEnd);
      split = splitsEnd;
      if (seq >= numDecodes) tile = this.#putTiles(chunk, seq, row, tile);
      table = this.#putTable(chunk, table);
      row += chunk.tokens.length;
      if (chunk.sample) {
        this.#putSample(chunk.sample, sample, row - 1);
        sample += SAMPLE_WORDS;
      }
    });
    return table;
  }

  #putRows({ tokens, start, blockTables }: ScheduledChunk, row: number, header: Uint32Array): void {
    const { blockSize } = this.#limits;
    this.#words.set(tokens, header[STEP.tokens]! + row);
    for (let i = 0; i < tokens.length; i++) {
      const position = start + i;
      const block = blockTables[0]![Math.floor(position / blockSize)];
      invariant(block !== undefined, `position ${position} is beyond its block table`);
      this.#words[header[STEP.positions]! + row + i] = position;
      this.#words[header[STEP.slots]! + row + i] = block * blockSize + position % blockSize;
    }
  }

  #putSeq(
    { tokens, start }: ScheduledChunk,
    at: number,
    { row, table, split }: Readonly<Record<"row" | "table" | "split", number>>,
  ): void {
    this.#words[at + SEQ.firstRow] = row;
    this.#words[at + SEQ.numRows] = tokens.length;
    this.#words[at + SEQ.contextLen] = start + tokens.length;
    this.#words[at + SEQ.table] = table;
    this.#words[at + SEQ.firstSplit] = split;
  }

  #putTiles({ tokens, start }: ScheduledChunk, seq: number, row: number, at: number): number {
    const { queryTile } = this.#limits;
    for (let first = 0; first < tokens.length; first += queryTile, at += TILE_WORDS) {
      this.#words[at + TILE.seq] = seq;
      this.#words[at + TILE.firstRow] = row + first;
      this.#words[at + TILE.numRows] = Math.min(queryTile, tokens.length - first);
      this.#words[at + TILE.position] = start + first;
    }
    return at;
  }

  /** Only the blocks that hold context; later entries of the table are not for this step. */
  #putTable({ tokens, start, blockTables }: ScheduledChunk, at: number): number {
    const numBlocks = ceilDiv(start + tokens.length, this.#limits.blockSize);
    for (let i = 0; i < numBlocks; i++) this.#words[at + i] = blockTables[0]![i]!;
    return at + numBlocks;
  }

  #putSample(sample: SampleRequest, at: number, row: number): void {
    this.#words[at + SAMPLE.row] = row;
    this.#words[at + SAMPLE.temperature] = f32ToBits(
      sample.temperature < MIN_TEMPERATURE ? 0 : sample.temperature,
    );
    this.#words[at + SAMPLE.topK] = sample.topK;
    this.#words[at + SAMPLE.topP] = normalF32Bits(sample.topP);
    this.#words[at + SAMPLE.minP] = normalF32Bits(sample.minP);
    this.#words[at + SAMPLE.seedLow] = sample.seed % 2 ** 32;
    this.#words[at + SAMPLE.seedHigh] = Math.floor(sample.seed / 2 ** 32);
    this.#words[at + SAMPLE.outputIndex] = sample.outputIndex;
    this.#words[at + SAMPLE.numLogprobs] = sample.numLogprobs === undefined
      ? 0
      : sample.numLogprobs + 1;
    this.#words[at + SAMPLE.adjust] = 0;
  }
}

/** Smallest f32 that every device keeps: it may take what is nearer to 0 for 0, or not. */
const MIN_NORMAL = 2 ** -126;

/** The f32 nearest to a probability, as bits; 0 in place of a subnormal one. */
function normalF32Bits(value: number): number {
  return value < MIN_NORMAL ? 0 : f32ToBits(value);
}

/** Chunk indices, those of one token before the longer ones, each kind in batch order. */
function decodesFirst(chunks: readonly ScheduledChunk[]): number[] {
  const decodes: number[] = [];
  const prefills: number[] = [];
  chunks.forEach((chunk, i) => (isDecode(chunk) ? decodes : prefills).push(i));
  return decodes.concat(prefills);
}

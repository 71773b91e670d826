import {
  COPY,
  COPY_WORDS,
  DRAW_WORDS,
  GROUP_WORDS,
  headerWords,
  QUERY_TILE,
  QUERY_TILE_WORDS,
  SEQ,
  SEQ_WORDS,
  STEP,
  type StepDims,
} from "../../kernels/step.ts";
import { invariant, InvariantError } from "../base/invariant.ts";
import { ceilDiv } from "../base/math.ts";
import type { Batch, BlockCopy, DrawRequest, ScheduledChunk } from "../core/batch.ts";
import { NO_BLOCK } from "../core/cache_group.ts";
import { firstRead, type ReadSpan } from "../core/read_span.ts";
import { adjustmentWords, putAdjustments } from "./adjustment_words.ts";
import { putDraw } from "./draw_words.ts";
import { spansOf, type StepLimits } from "./step_limits.ts";
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

/** A batch's chunks as they are packed. */
interface ChunkOrder {
  /** Those of one token before the longer ones, each kind in batch order. */
  readonly chunks: readonly ScheduledChunk[];
  readonly numDecodes: number;
}

/**
 * Words of metadata that a step of these limits needs at most, as long as the adjustments of its
 * draws take no more than 512 words per sequence. Larger ones make the packer's words grow.
 */
export function maxStepWords(limits: StepLimits): number {
  const { maxTokens, maxSeqs, maxBlocksPerSeq, maxSplits, shortContextLen } = limits;
  const wordsPerRow = (shortContextLen === undefined ? 2 : 3) + QUERY_TILE_WORDS;
  const numGroups = spansOf(limits).length;
  const perGroup = maxTokens + maxSplits + maxSeqs * (SEQ_WORDS + COPY_WORDS + maxBlocksPerSeq);
  return headerWords(numGroups) + numGroups * perGroup + maxTokens * wordsPerRow +
    maxSeqs * (DRAW_WORDS + ADJUSTMENT_ROOM);
}

/**
 * Writes batches as packed step metadata (`kernels/step.ts`) into one reused array.
 *
 * Beside {@link maxStepWords}, a step can need 3 words per token that is penalized or biased, at
 * most those of a sequence's context plus what its request names, and one word per 32 tokens of the
 * vocabulary for each bitmask.
 */
export class StepPacker {
  readonly #limits: StepLimits;
  readonly #spans: readonly ReadSpan[];
  #words: Uint32Array<ArrayBuffer>;

  constructor(limits: StepLimits) {
    this.#limits = limits;
    this.#spans = spansOf(limits);
    this.#words = new Uint32Array(maxStepWords(limits));
  }

  /** The largest step it packs. */
  get limits(): StepLimits {
    return this.#limits;
  }

  /**
   * Rows are ordered decodes first; draws follow the rows.
   *
   * @param numStepsAhead steps until the one that `numNextSplits` speaks of.
   */
  pack(batch: Batch, numStepsAhead = 1): PackedStep {
    const indices = decodesFirst(batch.chunks);
    const chunks = indices.map((i) => batch.chunks[i]!);
    const order = { chunks, numDecodes: chunks.filter(isDecode).length };
    const draws: DrawRequest[] = [];
    for (const { draw } of chunks) if (draw !== undefined) draws.push(draw);
    this.#reserve(adjustmentWords(draws));
    const { numQueryTiles, end: rowsEnd } = this.#putRows(batch, order, draws.length);
    let end = rowsEnd;
    const numSplits: number[] = [];
    const numCopies: number[] = [];
    for (const group of this.#spans.keys()) {
      const copies = batch.copies?.filter((copy) => copy.group === group) ?? [];
      numCopies.push(copies.length);
      numSplits.push(this.#numSplits(chunks, group));
      end = this.#putGroup(order, { group, copies, numSplits: numSplits[group]! }, end);
    }
    const { end: words, ...adjustments } = putAdjustments(this.#words, end, draws);
    return {
      words: this.#words.subarray(0, words),
      dims: {
        numTokens: batch.numTokens,
        numDecodes: order.numDecodes,
        numSplits,
        numNextSplits: numSplits.map((_, group) => this.#numSplits(chunks, group, numStepsAhead)),
        numQueryTiles,
        numDraws: draws.length,
        numCopies,
        numLogprobDraws: draws.filter(({ numLogprobs }) => numLogprobs !== undefined).length,
        ...adjustments,
      },
      sampledChunks: indices.filter((i) => batch.chunks[i]!.draw !== undefined),
    };
  }

  /** Makes room for a step with so many words of adjustments; what the array held is lost. */
  #reserve(numWords: number): void {
    const { maxSeqs } = this.#limits;
    const needed = maxStepWords(this.#limits) - maxSeqs * ADJUSTMENT_ROOM + numWords;
    if (needed <= this.#words.length) return;
    this.#words = new Uint32Array(Math.max(needed, 2 * this.#words.length));
  }

  /** Splits that these chunks have in a group, now or `numTokens` further on. */
  #numSplits(chunks: readonly ScheduledChunk[], group: number, numTokens = 0): number {
    const { splitLen } = this.#limits;
    const span = this.#spans[group]!;
    return chunks.reduce((n, chunk) => n + splitsOf(chunk, splitLen, span, numTokens), 0);
  }

  /** Writes the header's counts and all that does not depend on the cache group. */
  #putRows(
    { numTokens }: Batch,
    { chunks, numDecodes }: ChunkOrder,
    numDraws: number,
  ): { numQueryTiles: number; end: number } {
    const { maxTokens, maxSeqs, queryTile } = this.#limits;
    invariant(numTokens <= maxTokens, `step of ${numTokens} tokens, made for ${maxTokens}`);
    invariant(chunks.length <= maxSeqs, `step of ${chunks.length} chunks, made for ${maxSeqs}`);
    const numQueryTiles = chunks.slice(numDecodes)
      .reduce((n, { tokens }) => n + ceilDiv(tokens.length, queryTile), 0);
    const counts = { numTokens, numSeqs: chunks.length, numDecodes, numQueryTiles, numDraws };
    const tokens = headerWords(this.#spans.length);
    const positions = tokens + numTokens;
    const hasLong = chunks.some(({ isLongContext }) => isLongContext);
    const angles = hasLong ? positions + numTokens : positions;
    const queryTiles = angles + numTokens;
    const draws = queryTiles + numQueryTiles * QUERY_TILE_WORDS;
    this.#putHeader({ ...counts, tokens, positions, angles, queryTiles, draws, firstDraw: 0 });
    const words = this.#words;
    let [row, tile, draw] = [0, queryTiles, draws];
    chunks.forEach((chunk, seq) => {
      const { length } = chunk.tokens;
      words.set(chunk.tokens, tokens + row);
      for (let i = 0; i < length; i++) words[positions + row + i] = chunk.start + i;
      if (hasLong) this.#putAngles(chunk, angles + row);
      if (seq >= numDecodes) tile = this.#putQueryTiles(chunk, seq, row, tile);
      row += chunk.tokens.length;
      if (chunk.draw === undefined) return;
      putDraw(words, draw, { draw: chunk.draw, row: row - 1 });
      draw += DRAW_WORDS;
    });
    return { numQueryTiles, end: draw };
  }

  #putAngles({ start, tokens, isLongContext }: ScheduledChunk, at: number): void {
    const { shortContextLen } = this.#limits;
    invariant(
      !isLongContext || shortContextLen !== undefined,
      "a long context, and position tables without rows for it",
    );
    const first = start + (isLongContext ? shortContextLen! : 0);
    for (let i = 0; i < tokens.length; i++) this.#words[at + i] = first + i;
  }

  /** Writes words of the header by name, those of a group `offset` words further on. */
  #putHeader(values: Partial<Record<keyof typeof STEP, number>>, offset = 0): void {
    for (const [name, value] of Object.entries(values)) {
      this.#words[STEP[name as keyof typeof STEP] + offset] = value;
    }
  }

  /** Writes a cache group's regions from word `at` on; returns their end. */
  #putGroup(
    { chunks }: ChunkOrder,
    { group, copies, numSplits }: {
      readonly group: number;
      readonly copies: readonly BlockCopy[];
      readonly numSplits: number;
    },
    at: number,
  ): number {
    const { maxSeqs, maxSplits } = this.#limits;
    invariant(numSplits <= maxSplits, `step of ${numSplits} splits, made for ${maxSplits}`);
    invariant(copies.length <= maxSeqs, `step of ${copies.length} copies, made for ${maxSeqs}`);
    const slots = at;
    const seqs = slots + this.#words[STEP.numTokens]!;
    const splits = seqs + chunks.length * SEQ_WORDS;
    const copied = splits + numSplits;
    const words = { slots, seqs, splits, numSplits, copies: copied, numCopies: copies.length };
    this.#putHeader(words, group * GROUP_WORDS);
    this.#putCopies(copies, copied);
    let table = copied + copies.length * COPY_WORDS;
    let [row, split] = [0, 0];
    chunks.forEach((chunk, seq) => {
      this.#putSlots(chunk, group, slots + row);
      const first = this.#firstBlock(chunk, group);
      const origin = table - first;
      table = this.#putTable(chunk, { group, first }, origin);
      this.#putSeq(chunk, seqs + seq * SEQ_WORDS, { row, table: origin, split });
      const splitsEnd = split + splitsOf(chunk, this.#limits.splitLen, this.#spans[group]);
      this.#words.fill(seq, splits + split, splits + splitsEnd);
      row += chunk.tokens.length;
      split = splitsEnd;
    });
    return table;
  }

  #putCopies(copies: readonly BlockCopy[], at: number): void {
    copies.forEach(({ from, to }, i) => {
      this.#words[at + i * COPY_WORDS + COPY.from] = from;
      this.#words[at + i * COPY_WORDS + COPY.to] = to;
    });
  }

  #putSlots({ tokens, start, blockTables }: ScheduledChunk, group: number, at: number): void {
    const { blockSize } = this.#limits;
    const words = this.#words;
    const table = blockTables[group];
    invariant(table !== undefined, `a chunk has no block table of cache group ${group}`);
    const end = start + tokens.length;
    for (let position = start; position < end;) {
      const index = Math.floor(position / blockSize);
      const block = table[index];
      if (block === undefined || block === NO_BLOCK) {
        const what = block === undefined ? "is beyond" : "has no block in";
        throw new InvariantError(`position ${position} ${what} its table of cache group ${group}`);
      }
      const offset = (block - index) * blockSize;
      const blockEnd = Math.min(end, (index + 1) * blockSize);
      for (; position < blockEnd; position++) words[at + position - start] = position + offset;
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

  #putQueryTiles({ tokens, start }: ScheduledChunk, seq: number, row: number, at: number): number {
    const { queryTile } = this.#limits;
    for (let first = 0; first < tokens.length; first += queryTile, at += QUERY_TILE_WORDS) {
      this.#words[at + QUERY_TILE.seq] = seq;
      this.#words[at + QUERY_TILE.firstRow] = row + first;
      this.#words[at + QUERY_TILE.numRows] = Math.min(queryTile, tokens.length - first);
      this.#words[at + QUERY_TILE.position] = start + first;
    }
    return at;
  }

  /**
   * The first block that a chunk's table has here: one that holds context which the chunk reads,
   * unless there are sinks, to which the dead entries lead.
   */
  #firstBlock({ start }: ScheduledChunk, group: number): number {
    const span = this.#spans[group]!;
    if (span.window === 0 || span.numSinkTokens > 0) return 0;
    return Math.floor(firstRead(span, start) / this.#limits.blockSize);
  }

  /**
   * The blocks from `first` on that hold context; later entries of the table are not for this step.
   * `at` is the word of the entry for block 0, there or not. Returns the end.
   */
  #putTable(
    { tokens, start, blockTables }: ScheduledChunk,
    { group, first }: { readonly group: number; readonly first: number },
    at: number,
  ): number {
    const words = this.#words;
    const table = blockTables[group]!;
    const numBlocks = ceilDiv(start + tokens.length, this.#limits.blockSize);
    for (let i = first; i < numBlocks; i++) words[at + i] = table[i]!;
    return at + numBlocks;
  }
}

/**
 * Chunk indices in the order of their rows: those of one token before the longer ones, each kind in
 * batch order.
 */
export function decodesFirst(chunks: readonly ScheduledChunk[]): number[] {
  const decodes: number[] = [];
  const prefills: number[] = [];
  chunks.forEach((chunk, i) => (isDecode(chunk) ? decodes : prefills).push(i));
  return decodes.concat(prefills);
}

import type { ChunkOutput, ScheduledChunk, TokenScore } from "../core/batch.ts";
import type { PromptReadout, PromptReport } from "../core/prompt_readout.ts";

/** What a chunk asks for beside a draw. */
type Readings = Pick<ScheduledChunk, "score" | "pooling">;

const NONE: Readings = {};

/**
 * Reads a prompt as its chunks are computed: log-probabilities of its tokens, of tokens behind it,
 * its vector. What was read is kept over preemptions, so that each position is read once, in order.
 */
export class PromptReader {
  readonly #readout: PromptReadout;
  readonly #prompt: Uint32Array;
  readonly #scores: TokenScore[] = [];
  /** Leading positions whose outputs have been taken. */
  #numRead = 0;
  #sum: Float32Array | undefined;

  constructor(readout: PromptReadout, prompt: Uint32Array) {
    this.#readout = readout;
    this.#prompt = prompt;
  }

  /**
   * Most leading positions that may come from elsewhere than the sequence's own chunks: those that
   * need not be read, or have been.
   */
  get maxCachedTokens(): number {
    const { numLogprobs, pooling } = this.#readout;
    const { length } = this.#prompt;
    if (this.#numRead === length) return Infinity;
    if (numLogprobs !== undefined || pooling === "mean") return this.#numRead;
    if (pooling === "cls" && this.#numRead === 0) return 0;
    return length - 1;
  }

  /** What a chunk of `[start, end)` asks for. */
  readingsOf(start: number, end: number): Readings {
    const first = Math.max(start, this.#numRead);
    if (first >= Math.min(end, this.#prompt.length)) return NONE;
    return { ...this.#scoresOf(start, end, first), ...this.#poolingOf(start, end, first) };
  }

  /** Takes an output of the chunk that asked for it. */
  take(output: ChunkOutput): void {
    if (output.type === "scores") this.#scores.push(...output.scores);
    else if (output.type === "pooled") this.#sum = output.sum;
  }

  /** The outputs of a chunk that ends at `end` have been taken. */
  advance(end: number): void {
    this.#numRead = Math.max(this.#numRead, Math.min(end, this.#prompt.length));
  }

  /** All that was read, once the whole prompt has been; undefined before. */
  report(): PromptReport | undefined {
    const { numLogprobs, nextTokens, pooling } = this.#readout;
    const { length } = this.#prompt;
    if (this.#numRead < length) return undefined;
    const numOwn = numLogprobs === undefined ? 0 : length - 1;
    return {
      ...(numLogprobs === undefined ? {} : { scores: this.#scores.slice(0, numOwn) }),
      ...(nextTokens === undefined ? {} : { nextScores: this.#scores.slice(numOwn) }),
      ...(pooling === undefined ? {} : { vector: this.#vector(this.#sum!) }),
    };
  }

  /** The positions from `first` on whose successor is of the prompt, and what is behind it. */
  #scoresOf(start: number, end: number, first: number): Readings {
    const { numLogprobs, nextTokens = [] } = this.#readout;
    const { length } = this.#prompt;
    const isLast = end >= length;
    const stop = numLogprobs === undefined ? first : Math.max(first, Math.min(end, length - 1));
    const own = this.#prompt.subarray(first + 1, stop + 1);
    const behind = isLast ? nextTokens : [];
    if (own.length + behind.length === 0) return NONE;
    return {
      score: {
        rows: Uint32Array.of(
          ...Array.from(own, (_, i) => first - start + i),
          ...behind.map(() => length - 1 - start),
        ),
        tokens: Uint32Array.of(...own, ...behind),
        numLogprobs: numLogprobs ?? 0,
      },
    };
  }

  #poolingOf(start: number, end: number, first: number): Readings {
    const { length } = this.#prompt;
    switch (this.#readout.pooling) {
      case "cls":
        return first === 0 ? { pooling: { firstRow: 0, numRows: 1 } } : NONE;
      case "last":
        return end < length ? NONE : { pooling: { firstRow: length - 1 - start, numRows: 1 } };
      case "mean": {
        const numRows = Math.min(end, length) - first;
        const before = this.#sum === undefined ? {} : { before: this.#sum };
        return { pooling: { firstRow: first - start, numRows, ...before } };
      }
      default:
        return NONE;
    }
  }

  #vector(sum: Float32Array): Float32Array {
    const { length } = this.#prompt;
    return this.#readout.pooling === "mean" ? sum.map((value) => value / length) : sum;
  }
}

import { MAX_LOGPROBS } from "../src/core/sampling_params.ts";

/**
 * The packed metadata of one step: a header of word offsets and counts, then ragged regions.
 *
 * The runner writes it with one upload per step; every kernel reads what it needs. Word indices:
 *
 *     header    STEP.* below, u32
 *     tokens    [T]                  token id of each row
 *     positions [T]                  position of each row in its sequence
 *     slots     [T]                  block * blockSize + offset, where the row's K and V go
 *     seqs      [S, SEQ_WORDS]       sequences with one row (decodes) first
 *     splits    [M]                  index into `seqs` of each split of decodes' contexts, in order
 *     tiles     [N, TILE_WORDS]      runs of at most `queryTile` rows of one longer chunk
 *     samples   [R, SAMPLE_WORDS]    rows whose logits are drawn from
 *     copies    [C, COPY_WORDS]      blocks to copy before anything else
 *     tables                         block ids, one run per sequence
 *     adjusts   [A, ADJUST_WORDS]    samples whose logits are adjusted before the draw
 *                                    then the entries and bitmasks that these name, ragged
 *
 * A row is one token of the step; T rows, S sequences, M splits, N tiles, R samples,
 * C copies, A adjusted samples.
 */
export const STEP = {
  numTokens: 0,
  numSeqs: 1,
  numDecodes: 2,
  numTiles: 3,
  numSamples: 4,
  tokens: 5,
  positions: 6,
  slots: 7,
  seqs: 8,
  tiles: 9,
  samples: 10,
  numCopies: 11,
  copies: 12,
  numAdjusts: 13,
  adjusts: 14,
  numSplits: 15,
  splits: 16,
} as const;

export const HEADER_WORDS = 20;

/**
 * One sequence: its first row, its rows, its context length after this step, its table's first
 * word, and of a decode its first split among those of the step.
 */
export const SEQ = { firstRow: 0, numRows: 1, contextLen: 2, table: 3, firstSplit: 4 } as const;
export const SEQ_WORDS = 5;

/** One prefill tile: index into `seqs`, first row, rows, position of the first row. */
export const TILE = { seq: 0, firstRow: 1, numRows: 2, position: 3 } as const;
export const TILE_WORDS = 4;

/**
 * One draw; temperature, top-p and min-p are f32 bits, none of them subnormal, and temperature is 0
 * or at least `MIN_TEMPERATURE`. `numLogprobs` is one more than asked, 0 for none.
 */
export const SAMPLE = {
  row: 0,
  temperature: 1,
  topK: 2,
  topP: 3,
  minP: 4,
  seedLow: 5,
  seedHigh: 6,
  outputIndex: 7,
  numLogprobs: 8,
  /** First word of its adjustment; 0 for none. */
  adjust: 9,
} as const;
export const SAMPLE_WORDS = 12;

/** One block copy, by block id. */
export const COPY = { from: 0, to: 1 } as const;
export const COPY_WORDS = 2;

/**
 * One adjustment: its sample, penalties as f32 bits, and where its entries and its bitmask begin.
 *
 * Entries are `numTokens` token ids, then as many words `2 * times drawn + (in the prompt ? 1 :
 * 0)`, then as many biases, f32 bits. The bitmask is `numAllowed` words, bit `t % 32` of word `t /
 * 32` for token `t`; 0 words allow all.
 */
export const ADJUST = {
  sample: 0,
  repetition: 1,
  frequency: 2,
  presence: 3,
  numTokens: 4,
  tokens: 5,
  numAllowed: 6,
  allowed: 7,
} as const;
export const ADJUST_WORDS = 8;

/**
 * One drawn token: id, its log-probability (f32 bits), then `MAX_LOGPROBS` pairs of id and bits.
 */
export const SAMPLED = { token: 0, logprob: 1, top: 2 } as const;
export const SAMPLED_WORDS = SAMPLED.top + 2 * MAX_LOGPROBS;

/** The dimensions of a step, from which the workgroups of every call follow. */
export interface StepDims {
  readonly numTokens: number;
  readonly numDecodes: number;
  readonly numTiles: number;
  readonly numSamples: number;
  readonly numCopies: number;
  /** Samples with log-probabilities. */
  readonly numReports: number;
  /**
   * Samples whose logits are adjusted, the most entries of one of them, and those with a bitmask.
   */
  readonly numAdjusts: number;
  readonly maxAdjustEntries: number;
  readonly numBitmasks: number;
  /** Splits of all decodes' contexts together, now and with one more token each. */
  readonly numSplits: number;
  readonly numNextSplits: number;
}

/** A step that does nothing. */
export const NO_WORK: StepDims = {
  numTokens: 0,
  numDecodes: 0,
  numTiles: 0,
  numSamples: 0,
  numCopies: 0,
  numReports: 0,
  numAdjusts: 0,
  maxAdjustEntries: 0,
  numBitmasks: 0,
  numSplits: 0,
  numNextSplits: 0,
};

/** The same word indices as WGSL constants, named `STEP_NUM_TOKENS`, `SEQ_TABLE` and so on. */
export const stepWgsl: string = [
  ...wgslConstants("STEP", STEP),
  ...wgslConstants("SEQ", { ...SEQ, words: SEQ_WORDS }),
  ...wgslConstants("TILE", { ...TILE, words: TILE_WORDS }),
  ...wgslConstants("SAMPLE", { ...SAMPLE, words: SAMPLE_WORDS }),
  ...wgslConstants("COPY", { ...COPY, words: COPY_WORDS }),
  ...wgslConstants("ADJUST", { ...ADJUST, words: ADJUST_WORDS }),
  ...wgslConstants("SAMPLED", { ...SAMPLED, words: SAMPLED_WORDS }),
  "",
].join("\n");

/** `values` as WGSL constants of type u32, their names in upper snake case after `prefix`. */
export function wgslConstants(prefix: string, words: Readonly<Record<string, number>>): string[] {
  return Object.entries(words).map(([name, word]) => {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    return `const ${prefix}_${snake}: u32 = ${word}u;`;
  });
}

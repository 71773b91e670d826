import { MAX_LOGPROBS } from "../src/core/sampling_params.ts";

/**
 * The packed metadata of one step: a header of word offsets and counts, then ragged regions.
 *
 * The runner writes it with one upload per step; every kernel reads what it needs. Word indices:
 *
 *     header    STEP.* below, u32
 *     tokens    [T]                  token id of each row
 *     positions [T]                  position of each row in its sequence
 *     angles    [T]                  row of position tables for each row; the positions themselves,
 *                                    unless a sequence of the step has a long context
 *     queryTiles [Q, QUERY_TILE_WORDS]
 *                                    runs of at most `queryTile` rows of one longer chunk
 *     draws     [R, DRAW_WORDS]      rows whose logits are drawn from
 *     and for each cache group:
 *       slots   [T]                  block * blockSize + offset, where the row's K and V go
 *       seqs    [S, SEQ_WORDS]       sequences with one row (decodes) first
 *       splits  [M]                  index into `seqs` of each split of decodes' contexts, in order
 *       copies  [C, COPY_WORDS]      blocks to copy before anything else
 *       tables                       block ids, one run per sequence
 *     poolings  [B, POOLING_WORDS]   runs of rows whose sums are asked for
 *     adjusts   [A, ADJUST_WORDS]    draws whose logits are adjusted before the draw
 *                                    then the entries and bitmasks that these name, ragged
 *
 * A row is one token of the step; T rows, S sequences, M splits, Q query tiles, R draws,
 * C copies, B poolings, A adjusted draws. The last GROUP_WORDS words of the header are those of
 * group 0, and those of each further group follow.
 */
export const STEP = {
  numTokens: 0,
  numSeqs: 1,
  numDecodes: 2,
  numQueryTiles: 3,
  numDraws: 4,
  tokens: 5,
  positions: 6,
  queryTiles: 7,
  draws: 8,
  numAdjusts: 9,
  adjusts: 10,
  numPoolings: 11,
  poolings: 12,
  angles: 13,
  /** Row of `sampled` that the first draw goes to: behind those of earlier steps of a run. */
  firstDraw: 14,
  // Of group 0, and GROUP_WORDS further on of the next.
  slots: 15,
  seqs: 16,
  splits: 17,
  numSplits: 18,
  copies: 19,
  numCopies: 20,
} as const;

/** Words of the header of a step with one cache group. */
export const HEADER_WORDS = 21;
/** Words of the header that each cache group has. */
export const GROUP_WORDS = HEADER_WORDS - STEP.slots;

/** Words of the header of a step with so many cache groups. */
export function headerWords(numGroups: number): number {
  return HEADER_WORDS + (numGroups - 1) * GROUP_WORDS;
}

/**
 * One sequence: its first row, its rows, its context length after this step, the word of its
 * table's entry for its first block, and of a decode its first split among those of the step.
 *
 * Entries of dead blocks before the first live one need not be there, so that the word modulo 2^32
 * may lie before the table's own.
 */
export const SEQ = { firstRow: 0, numRows: 1, contextLen: 2, table: 3, firstSplit: 4 } as const;
export const SEQ_WORDS = 5;

/** One query tile of a prefill: index into `seqs`, first row, rows, position of the first row. */
export const QUERY_TILE = { seq: 0, firstRow: 1, numRows: 2, position: 3 } as const;
export const QUERY_TILE_WORDS = 4;

/**
 * One draw; temperature, top-p and min-p are f32 bits, none of them subnormal, and temperature is 0
 * or at least `MIN_TEMPERATURE`. `numLogprobs` is one more than asked, 0 for none.
 */
export const DRAW = {
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
  /** One more than the token that is taken in place of a draw; 0 for a draw. */
  forced: 10,
} as const;
export const DRAW_WORDS = 11;

/** One run of rows whose sum is asked for. */
export const POOLING = { firstRow: 0, numRows: 1 } as const;
export const POOLING_WORDS = 2;

/** One block copy, by block id. */
export const COPY = { from: 0, to: 1 } as const;
export const COPY_WORDS = 2;

/**
 * One adjustment: its draw, penalties as f32 bits, and where its entries and its bitmask begin.
 *
 * Entries are `numTokens` token ids, then as many words `2 * times drawn + (in the prompt ? 1 :
 * 0)`, then as many biases, f32 bits. The bitmask is `numAllowed` words, bit `t % 32` of word `t /
 * 32` for token `t`; 0 words allow all.
 */
export const ADJUST = {
  draw: 0,
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
  readonly numQueryTiles: number;
  readonly numDraws: number;
  /** Blocks to copy in each cache group. */
  readonly numCopies: readonly number[];
  /** Samples with log-probabilities. */
  readonly numLogprobDraws: number;
  /**
   * Samples whose logits are adjusted, the most entries of one of them, and those with a bitmask.
   */
  readonly numAdjusts: number;
  readonly maxAdjustEntries: number;
  readonly numBitmasks: number;
  /**
   * Splits of all decodes' contexts together that are read in each cache group, now and in the step
   * of this place in the next plan like this one.
   */
  readonly numSplits: readonly number[];
  readonly numNextSplits: readonly number[];
}

/** A step that does nothing. */
export const NO_WORK: StepDims = {
  numTokens: 0,
  numDecodes: 0,
  numQueryTiles: 0,
  numDraws: 0,
  numCopies: [],
  numLogprobDraws: 0,
  numAdjusts: 0,
  maxAdjustEntries: 0,
  numBitmasks: 0,
  numSplits: [],
  numNextSplits: [],
};

/** A number of one cache group, of a step that may have nothing of it. */
export function ofGroup(numbers: readonly number[], group: number): number {
  return numbers[group] ?? 0;
}

/** The entry of a sequence's block table for its `index`th block; `table` is its `SEQ.table`. */
export function tableEntry(words: Uint32Array, table: number, index: number): number {
  return words[(table + index) % 2 ** 32]!;
}

/** The same word indices as WGSL constants, named `STEP_NUM_TOKENS`, `SEQ_TABLE` and so on. */
export const stepWgsl: string = [
  ...wgslConstants("STEP", STEP),
  ...wgslConstants("SEQ", { ...SEQ, words: SEQ_WORDS }),
  ...wgslConstants("QUERY_TILE", { ...QUERY_TILE, words: QUERY_TILE_WORDS }),
  ...wgslConstants("DRAW", { ...DRAW, words: DRAW_WORDS }),
  ...wgslConstants("POOLING", { ...POOLING, words: POOLING_WORDS }),
  ...wgslConstants("COPY", { ...COPY, words: COPY_WORDS }),
  ...wgslConstants("ADJUST", { ...ADJUST, words: ADJUST_WORDS }),
  ...wgslConstants("SAMPLED", { ...SAMPLED, words: SAMPLED_WORDS }),
  "",
].join("\n");

/**
 * Template of the same and, for kernels of a cache group with the constant GROUP, of where the
 * group's words lie in the header: `STEP_SLOTS + GROUP_AT` and so on.
 */
export const groupStepWgsl: string =
  `${stepWgsl}const GROUP_AT: u32 = \${GROUP * ${GROUP_WORDS}}u;\n`;

/** `values` as WGSL constants of type u32, their names in upper snake case after `prefix`. */
export function wgslConstants(prefix: string, words: Readonly<Record<string, number>>): string[] {
  return Object.entries(words).map(([name, word]) => {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    return `const ${prefix}_${snake}: u32 = ${word}u;`;
  });
}

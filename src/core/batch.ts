import type { KvCacheDtype } from "./engine_config.ts";
import type { BlockId, SequenceId, TokenId } from "./ids.ts";

/** The draw of one token from the logits of a chunk's last position. */
export interface DrawRequest {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly seed: number;
  /**
   * Index of the token to draw among the sequence's outputs, from 0; keeps draws independent of
   * batching.
   */
  readonly outputIndex: number;
  /** How many log-probabilities to report beside the chosen token's; absent means none at all. */
  readonly numLogprobs?: number;
  /** Changes the logits before the draw; absent leaves them as the model computed them. */
  readonly adjustment?: LogitAdjustment;
}

/**
 * Penalties, biases and bans of one draw, in this order. Log-probabilities are reported as they are
 * without them.
 *
 *     repetition: l = l > 0 ? l / p : l * p    of tokens in prompt or output (Keskar 2019, "CTRL",
 *                                              arXiv:1909.05858)
 *     frequency:  l -= p * times drawn
 *     presence:   l -= p                       of tokens drawn at least once
 *     bias:       l += b
 */
export interface LogitAdjustment {
  /** 1 changes nothing; positive. */
  readonly repetitionPenalty: number;
  /** 0 changes nothing. */
  readonly frequencyPenalty: number;
  /** 0 changes nothing. */
  readonly presencePenalty: number;
  /** The affected tokens, each once, in any order; ids beyond the vocabulary are ignored. */
  readonly tokens: Uint32Array;
  /** For each, twice the number of times it was drawn, plus one where the prompt has it. */
  readonly counts: Uint32Array;
  /** Added to each one's logit; -Infinity bans the token. */
  readonly biases: Float32Array;
  /**
   * Bit `t % 32` of word `t / 32` says whether token `t` may be drawn; `ceil(V / 32)` words, tokens
   * beyond them may not. Absent allows all. At least one token must be left.
   */
  readonly allowedTokens?: Uint32Array;
}

/**
 * Log-probabilities of given tokens, by the logits of a chunk's rows: entry `i` asks for that of
 * `tokens[i]` behind row `rows[i]` of the chunk, from 0.
 */
export interface ScoreRequest {
  readonly rows: Uint32Array;
  readonly tokens: Uint32Array;
  /** How many of the likeliest tokens to report beside each. */
  readonly numLogprobs: number;
}

/** The sum of the last hidden states, each after the final norm, of some rows of a chunk. */
export interface PoolingRequest {
  /** Row of the chunk, from 0. */
  readonly firstRow: number;
  /** At least 1. */
  readonly numRows: number;
  /** What the rows are added to, one after the other; absent: zeros. */
  readonly before?: Float32Array;
}

/** Most decode steps of one plan. */
export const MAX_DECODE_STEPS = 8;

/** Most draws of one plan, of all its steps together. */
export const MAX_DRAWS = 4096;

/**
 * `tokens.length` consecutive positions of one sequence, computed in one step. Decode is a chunk of
 * one.
 */
export interface ScheduledChunk {
  readonly sequenceId: SequenceId;
  /** Token ids at positions `[start, start + tokens.length)`. */
  readonly tokens: Uint32Array;
  /** First position of the chunk; everything before it is in the KV pool already. */
  readonly start: number;
  /**
   * The sequence's block tables, never changed: entry `g` is that of cache group `g` and covers at
   * least `start + tokens.length` positions and those of further steps, with `NO_BLOCK` where
   * nothing is read any more.
   */
  readonly blockTables: readonly (readonly BlockId[])[];
  /**
   * Present when the last position is the sequence's newest token, whose successor is to be drawn.
   */
  readonly draw?: DrawRequest;
  /**
   * Decode steps that follow one another before anything is read back: the token that each draws
   * is the one that the next computes, one position further on, and the index of the draw grows by
   * one. From 2 to {@link MAX_DECODE_STEPS}, in a batch of decodes alone, which ask for nothing but
   * draws without adjustments. Absent: one.
   */
  readonly numDecodeSteps?: number;
  /**
   * Present for a sequence that reads the rows of position tables for long contexts
   * (`src/core/long_context.ts`).
   */
  readonly isLongContext?: true;
  /** Tokens whose log-probabilities are asked for. */
  readonly score?: ScoreRequest;
  /** Rows whose hidden states are asked for, summed up. */
  readonly pooling?: PoolingRequest;
}

/** The decode steps that a chunk stands for. */
export function numDecodeStepsOf({ numDecodeSteps = 1 }: ScheduledChunk): number {
  return numDecodeSteps;
}

/** Whether something is to be handed back of a chunk, beside the KV that it writes. */
export function asksForOutput({ draw, score, pooling }: ScheduledChunk): boolean {
  return (draw ?? score ?? pooling) !== undefined;
}

/** A copy of what some positions of a block hold into another block: all layers of its group. */
export interface BlockCopy {
  /** Index of the cache group that both blocks are of. */
  readonly group: number;
  readonly from: BlockId;
  readonly to: BlockId;
  /** Positions `[0, numTokens)` of the block; all of them where blocks move. */
  readonly numTokens: number;
}

/** A move of one whole block's contents into another block: all layers of its group. */
export interface BlockMove {
  /** Index of the cache group that both blocks are of. */
  readonly group: number;
  readonly from: BlockId;
  readonly to: BlockId;
}

/** A whole block of the device and one of host memory that hold, or are to hold, the same. */
export interface BlockSwap {
  /** Index of the cache group that the block is of. */
  readonly group: number;
  readonly block: BlockId;
  /** Its block of host memory, counted as block ids are on the device. */
  readonly hostBlock: number;
}

/** A block that sequence `sequenceId` had, and has again. */
export interface BlockLoad extends BlockSwap {
  readonly sequenceId: SequenceId;
}

/**
 * The plan of one step, which may stand for several decode steps: plain data that is
 * printed, saved and replayed. It owns what it carries, or shares what never changes: a
 * plan that is kept stays as it was.
 */
export interface Batch {
  /** Number of the step in this engine, from 0. */
  readonly step: number;
  /** Blocks to be copied to host memory before anything is written. Absent when there are none. */
  readonly swapOuts?: readonly BlockSwap[];
  /**
   * Blocks to be copied back, after those went out and before anything else. A sequence whose
   * blocks come back otherwise than they went computes nothing: its chunk has a
   * {@link CorruptOutput}.
   */
  readonly swapIns?: readonly BlockLoad[];
  /**
   * To be carried out before anything of the step is computed, in any order: no block is both read
   * and written by copies, and none is written twice. Absent when there are none.
   */
  readonly copies?: readonly BlockCopy[];
  /** At most one chunk per sequence; empty only in a plan of copies alone. */
  readonly chunks: readonly ScheduledChunk[];
  /** Sum of the chunks' lengths, at most the token budget; further steps have no more. */
  readonly numTokens: number;
}

/** Whether blocks are copied to host memory or back. */
export function hasSwaps({ swapOuts, swapIns }: Pick<Batch, "swapOuts" | "swapIns">): boolean {
  return (swapOuts ?? swapIns) !== undefined;
}

/** The decode steps that a plan stands for: those of the chunk with most; 1 where none has any. */
export function numDecodeStepsIn({ chunks }: Pick<Batch, "chunks">): number {
  return Math.max(1, ...chunks.map(numDecodeStepsOf));
}

/** The positions that a plan computes, in all of its decode steps. */
export function numPositionsOf({ numTokens, chunks }: Pick<Batch, "numTokens" | "chunks">): number {
  return chunks.reduce((sum, chunk) => sum + numDecodeStepsOf(chunk) - 1, numTokens);
}

/** A token with the natural logarithm of its probability under the unmodified distribution. */
export interface TokenLogprob {
  readonly token: TokenId;
  readonly logprob: number;
}

/** Where the KV of a sequence first holds something that is not a finite number. */
export interface KvDamage {
  /** The first position with such KV in any layer. */
  readonly position: number;
  /** The first layer with such KV, from which that of later layers follows, and its dtype. */
  readonly layer: number;
  readonly dtype: KvCacheDtype;
  /** Whether the layer computed a finite number too large for `dtype`; only f16 has that limit. */
  readonly isTooLarge: boolean;
}

/** No token can be drawn: a logit has overflowed or is NaN, or every token is banned. */
export interface DrawFailure {
  /**
   * Leading tokens of the sequence before those whose KV is not finite; 0 where that is not known.
   */
  readonly numSoundTokens: number;
  /** Present where the KV was examined and is not finite everywhere. */
  readonly kvDamage?: KvDamage;
}

/** A token drawn from the logits of a chunk's last position, as its `draw` asks. */
export interface TokenOutput {
  readonly type: "token";
  readonly token: TokenId;
  /** Natural log-probability of `token`, before temperature and filters; present when asked for. */
  readonly logprob?: number;
  /** The likeliest tokens, best first; present when asked for. */
  readonly topLogprobs?: readonly TokenLogprob[];
}

/**
 * A token of a {@link ScoreRequest} with its log-probability and the likeliest ones, best first.
 */
export interface TokenScore extends TokenLogprob {
  readonly topLogprobs: readonly TokenLogprob[];
}

/** Log-probabilities as a chunk's `score` asks for them, in its order. */
export interface ScoresOutput {
  readonly type: "scores";
  readonly scores: readonly TokenScore[];
}

/** The sum that a chunk's `pooling` asks for: as many numbers as a hidden state has. */
export interface PooledOutput {
  readonly type: "pooled";
  readonly sum: Float32Array;
}

/** In place of a token that cannot be drawn, or of scores and sums that are no numbers. */
export interface FailedOutput {
  readonly type: "failed";
  readonly failure: DrawFailure;
}

/** In place of all else, also of nothing: host memory has not kept the sequence's blocks. */
export interface CorruptOutput {
  readonly type: "corrupt";
}

/** One thing that a step makes of a chunk; more kinds of them are more members here. */
export type ChunkOutput = TokenOutput | ScoresOutput | PooledOutput | FailedOutput | CorruptOutput;

/**
 * What the runner hands back for one chunk that asks for something: its scores, its sum, its draw,
 * as far as it asks for each; or nothing but a failure. Of several steps: their draws in order,
 * perhaps cut short by a failure. Of one that asks for nothing, only that its blocks are corrupt.
 */
export interface ChunkResult {
  readonly sequenceId: SequenceId;
  readonly outputs: readonly ChunkOutput[];
}

/** Whether the sequence's blocks did not come back from host memory. */
export function isCorrupt({ outputs }: ChunkResult): boolean {
  return outputs[0]?.type === "corrupt";
}

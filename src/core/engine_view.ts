import type { CacheSpec } from "./cache_group.ts";
import type { RequestId, SequenceId } from "./ids.ts";

/** Set in a block's state where the prefix cache has it. */
export const BLOCK_CACHED = 1;
/** Set in a block's state where a pin keeps it. */
export const BLOCK_PINNED = 2;
/** A block's group stands above this many bits of its state. */
export const BLOCK_GROUP_SHIFT = 2;
/** Stands for no sequence among those that hold blocks. */
export const NO_SEQUENCE = -1;
/** The most holders that are told apart. */
export const MAX_HOLDERS = 255;

/**
 * What each block of the pool is at a moment, as columns: free with no holders and no mark, cached
 * alone with the mark and no holders, in use with holders, shared with several.
 */
export interface BlockMap {
  /** Marks and group of each block. */
  readonly states: Uint8Array;
  /** References to each block, at most {@link MAX_HOLDERS}: tables, pins and copies. */
  readonly holders: Uint8Array;
  /** The sequence that was admitted first of those that hold each block, or {@link NO_SEQUENCE}. */
  readonly firstHolders: Int32Array;
}

/**
 * A run of the radix tree: blocks in a row that have the same holders, and of which each but the
 * last has one child.
 */
export interface TreeRun {
  /** Its last node, and the hash of the path up to there: together they name it while it lasts. */
  readonly node: number;
  readonly hash: number;
  /** The run above it, by its index in the view; -1 below a root. */
  readonly parent: number;
  /** Which of the view's scopes. */
  readonly scope: number;
  readonly numBlocks: number;
  /** Blocks of the runs below it, those that are not in the view included. */
  readonly numBelow: number;
  /** Admissions that have found it, or something below it. */
  readonly numHits: number;
  /** Seconds since the last of them; -1 for none. */
  readonly idleSeconds: number;
  /** Tables and pins that hold it now. */
  readonly numHolders: number;
  readonly isPinned: boolean;
}

/** The largest and most used runs of the radix tree, each behind the run above it. */
export interface TreeView {
  readonly runs: readonly TreeRun[];
  readonly scopes: readonly string[];
  /** Of the whole tree. */
  readonly numRuns: number;
  readonly numBlocks: number;
}

/** An unfinished sequence. */
export interface SequenceView {
  readonly id: SequenceId;
  readonly requestId: RequestId;
  readonly index: number;
  readonly state: "running" | "waiting";
  readonly numPromptTokens: number;
  readonly numTokens: number;
  readonly numComputedTokens: number;
  readonly numCachedTokens: number;
  readonly numPreemptions: number;
}

/** Where the time of a step went, ms: `stepMs` is the sum of the others. */
export interface StepView {
  readonly step: number;
  /** Unix time of its end, ms. */
  readonly endMs: number;
  readonly stepMs: number;
  /** Deciding who runs. */
  readonly scheduleMs: number;
  /** The host, while the device had nothing to do. */
  readonly hostMs: number;
  /** The device: waited for, or computing while the host worked. */
  readonly deviceMs: number;
  readonly numChunks: number;
  readonly numTokens: number;
}

/** A chunk of more than one token. */
export interface ChunkView {
  readonly sequenceId: SequenceId;
  readonly step: number;
  /** Unix time of its plan, ms. */
  readonly timeMs: number;
  readonly start: number;
  readonly count: number;
}

/** The inside of the engine between two steps. */
export interface EngineView {
  /** Number of the next step. */
  readonly step: number;
  readonly blockSize: number;
  readonly groups: readonly CacheSpec["kind"][];
  readonly blocks: BlockMap;
  /** Where it was asked for and there is a prefix cache. */
  readonly tree?: TreeView;
  /** Those that run, in the order of their admission, then those that wait. */
  readonly sequences: readonly SequenceView[];
  /** Unfinished sequences that are left out. */
  readonly numHidden: number;
  /** Since the view before, the latest. */
  readonly steps: readonly StepView[];
  readonly chunks: readonly ChunkView[];
  /** Time that the engine spent on it, ms. */
  readonly tookMs: number;
}

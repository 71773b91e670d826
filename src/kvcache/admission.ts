import type { BlockCopy } from "../core/batch.ts";
import type { CacheSpec } from "../core/cache_group.ts";
import type { SequenceId } from "../core/ids.ts";
import type { SwapSpace } from "../core/swap_space.ts";
import type { Demand } from "./pool/pool.ts";
import type { DecisionListener } from "./prefix/cache_listener.ts";
import type { ContentKey } from "./prefix/encoder_entry.ts";
import type { PrefixCacheOptions } from "./prefix/prefix_cache_options.ts";
import type { EncoderInput } from "./tables/encoder_inputs.ts";
import type { CachingOptions } from "./tables/sequence_path.ts";

/** The sizes of the KV pool, as decided at start, and how it is shared. */
export interface BlockManagerOptions {
  readonly numBlocks: number;
  /** Token positions per block. */
  readonly blockSize: number;
  /** What layers keep, group by group. Default: one group of full attention. */
  readonly groups?: readonly CacheSpec[];
  /**
   * Blocks that a slab is cut into, by group; `numBlocks` counts slabs. Default: a slab is a block,
   * whichever group has it.
   */
  readonly blocksPerSlab?: readonly number[];
  /** Most positions of one sequence that a step computes: its token budget. Default: no limit. */
  readonly maxInFlightTokens?: number;
  /**
   * Blocks an admission leaves free while other sequences hold some, so that those can grow for a
   * while before one must be preempted. Default: one percent of the pool.
   */
  readonly numWatermarkBlocks?: number;
  /** Absent: blocks are forgotten when their sequence ends. */
  readonly prefixCache?: PrefixCacheOptions;
  /** Host memory for blocks of preempted sequences. Default: none. */
  readonly swapSpace?: SwapSpace;
  readonly onDecision?: DecisionListener;
  /** Every so many tokens, a multiple of `blockSize`, states are kept. Default: never. */
  readonly stateSnapshotInterval?: number;
}

/** How a sequence is admitted. */
export interface AdmissionOptions extends CachingOptions {
  /**
   * Blocks of each group that the other sequences of its request take next: there has to be room
   * for them too. Default: none.
   */
  readonly reserved?: Demand;
  /** Slabs to leave free, where that is more than the watermark. Default: the watermark. */
  readonly numHeadroomSlabs?: number;
  /** Its own id, where it may have blocks in host memory. */
  readonly swappedId?: SequenceId;
  /** Most leading tokens that may be found, in whole blocks. Default: all but the last. */
  readonly maxCachedTokens?: number;
  /**
   * What an encoder turns into positions of its own, for groups of that kind. Its prefix is found
   * only with the same inputs at the same positions. Default: none.
   */
  readonly inputs?: readonly EncoderInput[];
}

/** What an admitted sequence starts with. */
export interface Admission {
  /**
   * Leading positions whose KV is in the pool already, or will be once `copies` are carried out.
   */
  readonly numCachedTokens: number;
  /** Positions right behind them that come from host memory in the next step, where any do. */
  readonly numLoadedTokens?: number;
  /** Tokens right behind the cached ones, in whole blocks, that have been evicted recently. */
  readonly numEvictedTokens: number;
  /** Milliseconds since the first of those was evicted, where there are any. */
  readonly evictedAgoMs?: number;
  /** Whether the prefix cache was searched for them. */
  readonly isLookup: boolean;
  /** To be carried out before the sequence's first step writes anything. */
  readonly copies: readonly BlockCopy[];
  /**
   * Positions at which chunks are to end, ascending, so that states can be kept as they are there.
   */
  readonly chunkEnds: readonly number[];
  /** Inputs whose output was not there: it is to be computed into their blocks. */
  readonly missingInputs: readonly ContentKey[];
}

/** Which sequence to fork, and where. */
export interface Fork {
  readonly source: SequenceId;
  /** Tokens of the fork. */
  readonly numTokens: number;
  /**
   * Leading tokens of the source, which has computed them; default: all but the last of the fork.
   */
  readonly numShared?: number;
  /** As of an admission. */
  readonly numHeadroomSlabs?: number;
  /** Whether it is for a group that runs: the watermark is kept from newcomers alone. */
  readonly isOfRunningGroup?: boolean;
}

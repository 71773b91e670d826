import type { BlockCopy } from "../../core/batch.ts";
import type { CacheSpec } from "../../core/cache_group.ts";
import type { SequenceId } from "../../core/ids.ts";
import type { BlockSource, Pool } from "../pool/pool.ts";
import type { DecisionListener } from "../prefix/cache_listener.ts";
import type { Hit } from "../prefix/longest_hit.ts";
import { type BlockTables, liveBlocksOf } from "./block_tables.ts";
import type { CopyQueue, WholeCopy } from "./copy_queue.ts";
import type { ForkPlan } from "./fork_plan.ts";

/** A state of a hit: its group and block. */
export type FoundState = Pick<WholeCopy, "group" | "from">;

/** A new fork: what it was planned to share and copy, and the tables of both sequences. */
export interface ForkTables {
  readonly plan: ForkPlan;
  readonly from: BlockTables;
  readonly to: BlockTables;
  readonly numShared: number;
}

/** What the copies of new sequences are made with. */
export interface StartCopiesOptions {
  readonly groups: readonly CacheSpec[];
  readonly blockSize: number;
  readonly pool: Pool;
  /** Where references are taken: the prefix cache where there is one, else the pool. */
  readonly blockSource: BlockSource;
  readonly queue: CopyQueue;
  readonly onDecision: DecisionListener | undefined;
}

/**
 * The copies that a sequence starts with: of the block that a fork shares in part, since both
 * sequences go on writing there, and of each state, which every step overwrites.
 *
 * What they read is held by the queue until the step that makes them is committed. Blocks of a
 * copy are named as the device counts them.
 */
export class StartCopies {
  readonly #options: StartCopiesOptions;

  constructor(options: StartCopiesOptions) {
    this.#options = options;
  }

  /** Holds what a hit has found: for the tables, or, of states, until they are copied. */
  holdHit({ nodes, blocks }: Hit): FoundState[] {
    const { blockSource, queue } = this.#options;
    return blocks.flatMap((ids, group) => {
      if (!this.#isState(group)) {
        blockSource.retain(liveBlocksOf(ids));
        return [];
      }
      if (nodes.length === 0) return [];
      const from = queue.sourceOf(ids.at(-1)!);
      queue.hold([from]);
      return [{ group, from }];
    });
  }

  /** Asks for the copies of states found by sequence `id` into its tables. */
  ofStates(id: SequenceId, found: readonly FoundState[], tables: BlockTables): BlockCopy[] {
    const numTokens = this.#options.blockSize;
    return found.map(({ group, from }) =>
      this.#copyOf(id, { group, from, to: tables[group]![0]!, numTokens })
    );
  }

  /** Asks for the copies of fork `id`, and keeps what they read until they are done. */
  ofFork(id: SequenceId, { plan, from, to, numShared }: ForkTables): BlockCopy[] {
    const { groups, blockSize, queue } = this.#options;
    const numBlocks = Math.floor(numShared / blockSize);
    return plan.copied.flatMap((block, group) => {
      if (block === undefined) return [];
      const isState = this.#isState(group);
      // Of several forks in one step each copies the same state, whichever it forks.
      const read = isState ? queue.sourceOf(block) : block;
      const isFull = groups[group]!.kind === "full";
      queue.hold(isFull ? from[group]!.slice(0, numBlocks + 1) : [read]);
      const written = to[group]![isState ? 0 : numBlocks]!;
      const numTokens = isState ? blockSize : numShared % blockSize;
      return [this.#copyOf(id, { group, from: read, to: written, numTokens })];
    });
  }

  /** Names blocks as the device does, and tells of the copy. */
  #copyOf(id: SequenceId, { group, from, to, numTokens }: BlockCopy): BlockCopy {
    const { pool, queue, onDecision } = this.#options;
    const named = {
      from: pool.idInGroup(from, group),
      to: pool.idInGroup(to, group),
      numTokens,
    };
    if (this.#isState(group)) queue.noteSource(to, from);
    onDecision?.({ type: "copy", sequenceId: id, group, ...named });
    return { group, ...named };
  }

  #isState(group: number): boolean {
    return this.#options.groups[group]!.kind === "state";
  }
}

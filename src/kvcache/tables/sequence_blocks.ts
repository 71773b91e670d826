import { type CacheSpec, isWindow, liveRange, NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { Pool } from "../pool/pool.ts";
import { type BlockTables, liveBlocksOf } from "./block_tables.ts";
import type { HeldBlocks, SequenceInputs } from "./sequence_inputs.ts";
import type { SequencePath } from "./sequence_path.ts";

/**
 * The blocks of one admitted sequence in every group.
 *
 *     position           0        16        32        48        64
 *     full attention     [   9    ][   4    ][   7    ][   8    ]
 *     window of 20       [   -    ][   -    ][   3    ][   1    ]     64 computed: [0, 45) is dead
 *     state                                            [   2    ]     its one state
 *
 * Entry `i` of a table has the positions from `i * blockSize` on; that of a state is the one block
 * in which its state is computed. A table grows at its end, and an entry dies once. Lists that are
 * handed out never change: a table that does is another list.
 */
export class SequenceBlocks {
  tables: BlockTables;
  /** Leading positions whose KV is in the blocks. */
  numComputedTokens: number;
  /** Absent without a prefix cache. */
  readonly path: SequencePath | undefined;
  /** Absent without groups of an encoder. */
  readonly inputs: SequenceInputs | undefined;
  /** Per group, the first entry behind the sinks that is not dead. */
  readonly #firstLive: number[];
  /**
   * Tables by the pool's ids, as of the latest {@link tablesOf}, and the same by each group's ids.
   */
  #inGroups: { readonly tables: BlockTables; readonly named: BlockTables } = {
    tables: [],
    named: [],
  };

  /** One reference to each block in `tables` is the sequence's. */
  constructor(
    tables: BlockTables,
    numComputedTokens: number,
    path: SequencePath | undefined,
    inputs?: SequenceInputs,
  ) {
    this.tables = tables;
    this.numComputedTokens = numComputedTokens;
    this.path = path;
    this.inputs = inputs;
    this.#firstLive = tables.map(() => 0);
  }

  /** Blocks that it holds. */
  get numHeld(): number {
    let sum = 0;
    for (const { blocks } of this.held()) sum += blocks.length;
    return sum;
  }

  /** The blocks that it holds, with their group: a list per table, then one per input. */
  held(): readonly HeldBlocks[] {
    const held: HeldBlocks[] = this.tables.map((table, group) => ({
      group,
      blocks: liveBlocksOf(table),
    }));
    if (this.inputs !== undefined) held.push(...this.inputs.held());
    return held;
  }

  /** Adds blocks to the ends of the tables. */
  append(taken: readonly (readonly BlockId[])[]): void {
    this.tables = this.tables.map((table, group) =>
      taken[group]!.length === 0 ? table : table.concat(taken[group]!)
    );
  }

  /**
   * Takes the blocks out that nothing reads any more, per group; no step that reads them may be in
   * flight. O(blocks taken), and O(table) where there are any.
   */
  takeDead(groups: readonly CacheSpec[], blockSize: number): BlockId[][] {
    return groups.map((spec, group) => {
      if (!isWindow(spec)) return [];
      const { numSinkBlocks, start } = liveRange(spec, this.numComputedTokens, blockSize);
      const first = Math.max(numSinkBlocks, this.#firstLive[group]!);
      if (start <= first) return [];
      this.#firstLive[group] = start;
      const table = [...this.tables[group]!];
      const dead = table.slice(first, start).filter((id) => id !== NO_BLOCK);
      if (dead.length === 0) return dead;
      table.fill(NO_BLOCK, first, start);
      this.tables = this.tables.map((other, i) => i === group ? table : other);
      return dead;
    });
  }

  /** The tables by the ids of each group; the same lists as long as tables do not change. */
  tablesOf(pool: Pool): BlockTables {
    const latest = this.#inGroups;
    if (latest.tables === this.tables) return latest.named;
    const named = this.tables.map((table, group) => {
      if (latest.tables[group] === table) return latest.named[group]!;
      return table.map((id) => id === NO_BLOCK ? id : pool.idInGroup(id, group));
    });
    this.#inGroups = { tables: this.tables, named };
    return named;
  }

  /** Follows its blocks to their new ids. */
  remap(remap: BlockRemap): void {
    this.tables = this.tables.map((table) =>
      table.map((id) => id === NO_BLOCK ? id : remap.idOf(id))
    );
    this.path?.remap(remap);
    this.inputs?.remap(remap);
  }
}

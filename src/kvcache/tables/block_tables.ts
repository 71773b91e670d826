import { NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";

/** The tables of one sequence, one per group. */
export type BlockTables = readonly (readonly BlockId[])[];

/** The blocks of a table that are not dead. */
export function liveBlocksOf(table: readonly BlockId[]): readonly BlockId[] {
  return table.includes(NO_BLOCK) ? table.filter((id) => id !== NO_BLOCK) : table;
}

import { invariant } from "../../base/invariant.ts";
import type { SequenceId } from "../../core/ids.ts";
import { NO_BLOCK } from "../../core/cache_group.ts";
import type { Pool } from "../pool/pool.ts";
import type { SequenceBlocks } from "./sequence_blocks.ts";

/** A holder of references to blocks other than the tables. */
export interface BlockHolder {
  /** Adds its references to `counts`, one entry per block. */
  countReferences(counts: Uint32Array): void;
}

/**
 * Audit: no table holds a block twice, and every block's count equals the number of tables that
 * hold it and of the references of `others`. O(pool + tables).
 */
export function checkTables(
  pool: Pool,
  sequences: ReadonlyMap<SequenceId, SequenceBlocks>,
  others: readonly (BlockHolder | undefined)[],
): void {
  const numHolders = new Uint32Array(pool.numBlocks);
  for (const [id, { tables, path, inputs }] of sequences) {
    path?.countReferences(numHolders);
    const table = tables.flat().filter((block) => block !== NO_BLOCK);
    for (const { blocks } of inputs?.held() ?? []) table.push(...blocks);
    invariant(new Set(table).size === table.length, `sequence ${id} holds a block twice`);
    for (const block of table) {
      invariant(block < pool.numBlocks, `sequence ${id} holds block ${block}, which there is not`);
      numHolders[block]!++;
    }
  }
  for (const other of others) other?.countReferences(numHolders);
  const wrong = numHolders.findIndex((count, block) => count !== pool.refCount(block));
  invariant(wrong < 0, `block ${wrong} has ${numHolders[wrong]} holders, not what it counts`);
}

import { invariant, InvariantError } from "../../base/invariant.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
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
  /** The last sequence that was found to hold a block, counted from 1. */
  const latestHolder = new Uint32Array(pool.numBlocks);
  let numSequences = 0;
  for (const [id, sequence] of sequences) {
    sequence.path?.countReferences(numHolders);
    numSequences++;
    const hold = (block: BlockId) => {
      if (block >= pool.numBlocks) {
        throw new InvariantError(`sequence ${id} holds block ${block}, which there is not`);
      }
      if (latestHolder[block] === numSequences) {
        throw new InvariantError(`sequence ${id} holds block ${block} twice`);
      }
      latestHolder[block] = numSequences;
      numHolders[block]!++;
    };
    for (const { blocks } of sequence.held()) blocks.forEach(hold);
  }
  for (const other of others) other?.countReferences(numHolders);
  const wrong = numHolders.findIndex((count, block) => count !== pool.refCount(block));
  invariant(wrong < 0, `block ${wrong} has ${numHolders[wrong]} holders, not what it counts`);
}

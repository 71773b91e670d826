import { InvariantError } from "../../base/invariant.ts";
import type { SequenceId } from "../../core/ids.ts";
import type { Pool } from "../pool/pool.ts";
import type { SequenceBlocks } from "./sequence_blocks.ts";

/** A holder of references to blocks other than the tables. */
export interface BlockHolder {
  /** Adds its references to `counts`, one entry per block. */
  countReferences(counts: number[]): void;
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
  const { numBlocks } = pool;
  const numHolders = new Array<number>(numBlocks).fill(0);
  /** The last sequence that was found to hold a block, counted from 1. */
  const latestHolder = new Array<number>(numBlocks).fill(0);
  let numSequences = 0;
  for (const [id, sequence] of sequences) {
    sequence.path?.countReferences(numHolders);
    numSequences++;
    for (const { blocks } of sequence.held()) {
      for (const block of blocks) {
        if (block >= numBlocks) {
          throw new InvariantError(`sequence ${id} holds block ${block}, which there is not`);
        }
        if (latestHolder[block] === numSequences) {
          throw new InvariantError(`sequence ${id} holds block ${block} twice`);
        }
        latestHolder[block] = numSequences;
        numHolders[block]!++;
      }
    }
  }
  for (const other of others) other?.countReferences(numHolders);
  for (let block = 0; block < numBlocks; block++) {
    if (numHolders[block] !== pool.refCount(block)) {
      throw new InvariantError(
        `block ${block} has ${numHolders[block]} holders, not what it counts`,
      );
    }
  }
}

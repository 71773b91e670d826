import { InvariantError } from "../../base/invariant.ts";
import type { SlabGroups } from "./slab_groups.ts";

/** What stands for a slab that is on no list of partial ones. */
const NO_LIST = -1;

/** Blocks of a slab by what they are, and how many of them are on its stack of free ones. */
export interface SlabBlocks {
  readonly used: number;
  readonly idle: number;
  readonly free: number;
  readonly stacked: number;
}

/** Audit: slabs and groups count and list what `blocksOf` finds in each slab. O(pool). */
export function checkSlabs(
  slabs: SlabGroups,
  numGroups: number,
  blocksOf: (slab: number) => SlabBlocks,
): void {
  slabs.checkIntegrity();
  const numFree = new Array<number>(numGroups).fill(0);
  const numIdle = new Array<number>(numGroups).fill(0);
  for (let slab = 0; slab < slabs.numSlabs; slab++) {
    if (slabs.isFree(slab)) continue;
    const blocks = blocksOf(slab);
    checkSlab(slabs, slab, blocks);
    if (blocks.used === 0) continue;
    numFree[slabs.groupOf(slab)]! += blocks.free;
    numIdle[slabs.groupOf(slab)]! += blocks.idle;
  }
  for (let group = 0; group < numGroups; group++) {
    const counted = slabs.countsOf(group);
    if (numFree[group] !== counted.numFree || numIdle[group] !== counted.numIdle) {
      throw new InvariantError(
        `group ${group} has ${numFree[group]} free and ${numIdle[group]} idle blocks in use slabs`,
      );
    }
  }
}

function checkSlab(slabs: SlabGroups, slab: number, blocks: SlabBlocks): void {
  const { used, idle, free, stacked } = blocks;
  const standing = slabs.standingOf(slab);
  const isCounted = used === standing.numUsed && idle === standing.numIdle &&
    (idle > 0) === standing.isMarked && free === stacked;
  if (!isCounted) {
    throw new InvariantError(
      `slab ${slab} has ${used} used, ${idle} idle and ${free} free blocks, counted otherwise`,
    );
  }
  const list = used > 0 && free > 0 ? standing.group : NO_LIST;
  if (standing.list !== list) throw new InvariantError(`slab ${slab} is not on list ${list}`);
  if (standing.isOffered && list === NO_LIST) {
    throw new InvariantError(`slab ${slab} has nothing for its sequence`);
  }
}

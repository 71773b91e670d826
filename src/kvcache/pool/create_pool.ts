import { BlockPool } from "./block_pool.ts";
import type { Demand, Pool } from "./pool.ts";
import { SlabPool } from "./slab_pool.ts";

/** A pool of `numSlabs` slabs, each of which is `perSlab[g]` blocks of group `g`. */
export function createPool(numSlabs: number, perSlab: Demand): Pool {
  const isCut = perSlab.some((count) => count > 1);
  return isCut ? new SlabPool(numSlabs, perSlab) : new BlockPool(numSlabs);
}

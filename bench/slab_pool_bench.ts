import { BlockPool } from "../src/kvcache/pool/block_pool.ts";
import type { Demand, Pool } from "../src/kvcache/pool/pool.ts";
import { SlabPool } from "../src/kvcache/pool/slab_pool.ts";

const NUM_BLOCKS = 99_000;
const COUNT = 1000;

/** Takes blocks of every group and lets them go again; returns a function that does so. */
function cycle(pool: Pool, counts: Demand): () => void {
  let owner = 0;
  return () => {
    const taken = pool.take(counts, ++owner);
    for (const ids of taken) pool.release(ids);
    pool.forgetSequence(owner);
  };
}

const equal = `allocate and release ${COUNT} of ${NUM_BLOCKS} blocks where a slab is a block`;
const plain = new BlockPool(NUM_BLOCKS);
Deno.bench({ name: "BlockPool, one group", group: equal, baseline: true }, () => {
  plain.release(plain.allocate(COUNT));
});
Deno.bench(
  { name: "BlockPool, two groups", group: equal },
  cycle(new BlockPool(NUM_BLOCKS), [COUNT / 2, COUNT / 2]),
);

const mixed = `allocate and release ${COUNT} blocks, three to a slab and one`;
const separate = [new BlockPool(NUM_BLOCKS / 2), new BlockPool(NUM_BLOCKS / 2)];
Deno.bench({ name: "two BlockPools", group: mixed, baseline: true }, () => {
  for (const pool of separate) pool.release(pool.allocate(COUNT / 2));
});
Deno.bench(
  { name: "SlabPool", group: mixed },
  cycle(new SlabPool(NUM_BLOCKS, [3, 1]), [COUNT / 2, COUNT / 2]),
);

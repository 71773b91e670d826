import { BlockPool } from "../src/kvcache/pool/block_pool.ts";
import { planSlabs } from "../src/core/slab_layout.ts";
import { SlabPool } from "../src/kvcache/groups/slab_pool.ts";

const NUM_BLOCKS = 100_000;
const COUNT = 1000;

/** The bytes of a block do not matter to a pool that is not cut. */
const BLOCK_BYTES = 4096;

/** Takes blocks of every group and lets them go again; returns a function that does so. */
function cycle(pool: SlabPool, counts: readonly number[]): () => void {
  let owner = 0;
  return () => {
    const taken = pool.tryAllocate(++owner, { counts })!;
    pool.tick();
    taken.forEach((ids, group) => {
      for (const id of ids) pool.release(group, id);
    });
    pool.forgetOwner(owner);
  };
}

/** The same with contents: once the pool is full, what was kept longest is evicted each time. */
function cycleCached(pool: SlabPool, counts: readonly number[]): () => void {
  let owner = 0;
  const run = () => {
    const taken = pool.tryAllocate(++owner, { counts })!;
    pool.tick();
    taken.forEach((ids, group) => {
      for (const id of ids) {
        pool.mark(group, id);
        pool.release(group, id);
      }
    });
    pool.forgetOwner(owner);
  };
  for (let i = 0; i < NUM_BLOCKS / COUNT; i++) run();
  return run;
}

const equal = `allocate and release ${COUNT} of ${NUM_BLOCKS} blocks of equal size`;
const plain = new BlockPool(NUM_BLOCKS);
Deno.bench({ name: "BlockPool", group: equal, baseline: true }, () => {
  plain.release(plain.allocate(COUNT));
});
const one = new SlabPool(planSlabs([BLOCK_BYTES]), NUM_BLOCKS * BLOCK_BYTES);
Deno.bench({ name: "SlabPool, one group", group: equal }, cycle(one, [COUNT]));
const two = new SlabPool(planSlabs([BLOCK_BYTES, BLOCK_BYTES]), NUM_BLOCKS * BLOCK_BYTES);
Deno.bench(
  { name: "SlabPool, two groups", group: equal },
  cycle(two, [COUNT / 2, COUNT / 2]),
);
const kept = new SlabPool(planSlabs([BLOCK_BYTES]), NUM_BLOCKS * BLOCK_BYTES);
Deno.bench({ name: "SlabPool, each evicted", group: equal }, cycleCached(kept, [COUNT]));

const mixed = `allocate and release ${COUNT} blocks of sizes 1 and 3`;
const layout = planSlabs([BLOCK_BYTES, 3 * BLOCK_BYTES]);
const poolBytes = NUM_BLOCKS * BLOCK_BYTES;
const half = [COUNT / 2, COUNT / 2];
const separate = [new BlockPool(NUM_BLOCKS / 2), new BlockPool(NUM_BLOCKS / 2)];
Deno.bench({ name: "two BlockPools", group: mixed, baseline: true }, () => {
  for (const pool of separate) pool.release(pool.allocate(COUNT / 2));
});
Deno.bench({ name: "SlabPool", group: mixed }, cycle(new SlabPool(layout, poolBytes), half));
Deno.bench(
  { name: "SlabPool, each evicted", group: mixed },
  cycleCached(new SlabPool(layout, poolBytes), half),
);

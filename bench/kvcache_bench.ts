import { BlockPool } from "../src/kvcache/pool/block_pool.ts";

const NUM_BLOCKS = 100_000;
const COUNT = 1000;

/** The honest simple alternative: a stack of ids and an array of counts, no order on reuse. */
class ArrayPool {
  #free = Array.from({ length: NUM_BLOCKS }, (_, i) => i);
  #counts = new Array<number>(NUM_BLOCKS).fill(0);

  allocate(count: number): number[] {
    const ids = this.#free.splice(this.#free.length - count);
    for (const id of ids) this.#counts[id] = 1;
    return ids;
  }

  release(ids: readonly number[]): void {
    for (const id of ids) if (--this.#counts[id]! === 0) this.#free.push(id);
  }
}

const group = `allocate and release ${COUNT} of ${NUM_BLOCKS} blocks`;
const plain = new ArrayPool();
const pool = new BlockPool(NUM_BLOCKS);

Deno.bench({ name: "array stack", group, baseline: true }, () => {
  plain.release(plain.allocate(COUNT));
});
Deno.bench({ name: "BlockPool", group }, () => {
  pool.release(pool.allocate(COUNT));
});

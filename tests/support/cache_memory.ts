/**
 * Prints what a pool of a million blocks takes, all of them cached, under the eviction policy that
 * the argument names; run with `--expose-gc`.
 */
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import type { BlockId } from "../../src/core/ids.ts";
import { BlockPool } from "../../src/kvcache/pool/block_pool.ts";
import { PrefixCache } from "../../src/kvcache/prefix/prefix_cache.ts";

declare const gc: () => void;

const numBlocks = 1_000_000;
const blockSize = 4;
const secret = new Uint8Array(32);

gc();
const before = Deno.memoryUsage();
const pool = new BlockPool(numBlocks);
const cache = new PrefixCache(pool, blockSize, {
  keySpace: { secret, modelFingerprint: "", layout: "" },
  policy: Deno.args[0] as EvictionPolicyName,
});
const tokens = new Uint32Array(blockSize);
let parent: BlockId | undefined;
for (let i = 0; i < numBlocks; i++) {
  const [id] = cache.take([1], 0)[0]!;
  tokens[0] = i;
  // Runs of a hundred blocks.
  if (i % 100 === 0) parent = undefined;
  parent = cache.insert({ scope: "", parent }, id!, { tokens, start: 0 });
}
gc();
const after = Deno.memoryUsage();
// deno-lint-ignore no-console -- what the test reads
console.log(JSON.stringify({
  numBlocks: cache.numNodes,
  tokenBytes: 4 * numBlocks * blockSize,
  columnBytes: after.external - before.external,
  heapBytes: after.heapUsed - before.heapUsed,
}));

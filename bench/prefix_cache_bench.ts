import type { BlockId } from "../src/core/ids.ts";
import { BlockKeyer, type KeySpace } from "../src/kvcache/prefix/block_key.ts";
import { KvRecorder } from "../src/engine/kv_recorder.ts";
import { BlockPool } from "../src/kvcache/pool/block_pool.ts";
import type { CacheListener } from "../src/kvcache/prefix/cache_listener.ts";
import { PrefixCache } from "../src/kvcache/prefix/prefix_cache.ts";

const BLOCK_SIZE = 16;
const TREE_BLOCKS = 100_000;
const PROMPT_LEN = 32_768;
const PROMPT_BLOCKS = PROMPT_LEN / BLOCK_SIZE;
const KEY_SPACE: KeySpace = {
  secret: new Uint8Array(32),
  modelFingerprint: "bench",
  layout: `f16:${BLOCK_SIZE}`,
};

/** Deterministic tokens of a vocabulary of 128K. */
function tokensOf(seed: number, count: number): Uint32Array {
  let state = seed >>> 0;
  return Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 15;
  });
}

/** Caches all blocks of `tokens` that are not cached yet, and lets them go. */
function store(cache: PrefixCache, tokens: Uint32Array): void {
  const found = cache.match("", tokens, tokens.length);
  cache.retain(found);
  const own = cache.take([tokens.length / BLOCK_SIZE - found.length], 0)[0]!;
  let parent: BlockId | undefined = found.at(-1);
  own.forEach((id, i) => {
    const start = (found.length + i) * BLOCK_SIZE;
    parent = cache.insert({ scope: "", parent }, id, { tokens, start });
  });
  cache.release([...found, ...own]);
}

function emptyCache(listener?: CacheListener): PrefixCache {
  const pool = new BlockPool(TREE_BLOCKS + 2 * PROMPT_BLOCKS);
  const options = { keySpace: KEY_SPACE, ...(listener === undefined ? {} : { listener }) };
  return new PrefixCache(pool, BLOCK_SIZE, options);
}

/**
 * A cache that holds `TREE_BLOCKS` blocks: prompts of 1024 tokens, half of them behind one of eight
 * heads.
 */
function filledCache(listener?: CacheListener): PrefixCache {
  const cache = emptyCache(listener);
  for (let seed = 0; cache.numNodes < TREE_BLOCKS; seed++) {
    const prompt = tokensOf(1000 + seed, 1024);
    if (seed % 2 === 0) prompt.set(tokensOf(seed % 16, 512));
    store(cache, prompt);
  }
  return cache;
}

const cache = filledCache();
const prompt = tokensOf(7, PROMPT_LEN);
store(cache, prompt);

const look = `look up ${PROMPT_LEN} tokens (${PROMPT_BLOCKS} blocks) in ${TREE_BLOCKS} blocks`;

/** The honest simple alternative: a chained key per block, looked up in one map. */
const keyer = new BlockKeyer(KEY_SPACE);
const byKey = new Map<string, BlockId>();

function walkKeys(visit: (key: string, id: BlockId) => boolean): number {
  let key = keyer.rootKey("");
  let numFound = 0;
  for (let start = 0; start < PROMPT_LEN; start += BLOCK_SIZE) {
    key = keyer.childKey(key, prompt.subarray(start, start + BLOCK_SIZE));
    if (!visit(key, start / BLOCK_SIZE)) break;
    numFound++;
  }
  return numFound;
}

for (let id = 0; id < TREE_BLOCKS; id++) byKey.set(`other ${id}`, id);
walkKeys((key, id) => byKey.set(key, id) !== undefined);

Deno.bench({ name: "chained keys in a Map", group: look, baseline: true }, () => {
  if (walkKeys((key) => byKey.has(key)) !== PROMPT_BLOCKS) throw new Error("a miss");
});
Deno.bench({ name: "PrefixCache.match()", group: look }, () => {
  if (cache.match("", prompt, PROMPT_LEN).length !== PROMPT_BLOCKS) throw new Error("a miss");
});

const stores = `store a cold prompt of ${PROMPT_LEN} tokens (${PROMPT_BLOCKS} blocks)`;
const roomy = emptyCache();
const recorder = new KvRecorder();
const watched = filledCache(recorder);
let seed = 1_000_000;

/** Times the store of a prompt that nothing begins like; its tokens are drawn before. */
function benchStore(name: string, into: PrefixCache, before: () => void = () => {}): void {
  Deno.bench({ name, group: stores, baseline: into === roomy }, (bench) => {
    before();
    const tokens = tokensOf(seed++, PROMPT_LEN);
    const { numEvicted } = into;
    bench.start();
    store(into, tokens);
    bench.end();
    const expected = into === roomy ? 0 : PROMPT_BLOCKS;
    if (into.numEvicted - numEvicted !== expected) throw new Error("not that many evicted");
  });
}

while (cache.numAvailable > cache.numNodes) store(cache, tokensOf(seed++, PROMPT_LEN));
while (watched.numAvailable > watched.numNodes) store(watched, tokensOf(seed++, PROMPT_LEN));
benchStore("into free blocks", roomy, () => roomy.clear());
benchStore("evicting as many", cache);
benchStore("evicting as many, with keys and events", watched, () => recorder.drain());

const root = keyer.rootKey("");
const block = prompt.subarray(0, BLOCK_SIZE);
Deno.bench(
  { name: "BlockKeyer.childKey()", group: `key of one block of ${BLOCK_SIZE} tokens` },
  () => {
    keyer.childKey(root, block);
  },
);

const COUNT = 1000;
const take = `allocate and release ${COUNT} blocks`;
const pool = new BlockPool(TREE_BLOCKS);
Deno.bench({ name: "BlockPool", group: take, baseline: true }, () => {
  pool.release(pool.allocate(COUNT));
});
const fresh = new PrefixCache(new BlockPool(TREE_BLOCKS), BLOCK_SIZE, { keySpace: KEY_SPACE });
Deno.bench({ name: "PrefixCache, nothing cached", group: take }, () => {
  fresh.release(fresh.take([COUNT], 0)[0]!);
});
const head = prompt.subarray(0, COUNT * BLOCK_SIZE);
const hits = cache.match("", head, head.length);
Deno.bench({ name: "PrefixCache, hit again and let go", group: take }, () => {
  cache.retain(hits);
  cache.release(hits);
});

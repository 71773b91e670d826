import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import type { BlockId } from "../../src/core/ids.ts";
import { BlockPool } from "../../src/kvcache/pool/block_pool.ts";
import { PrefixCache } from "../../src/kvcache/prefix/prefix_cache.ts";
import type { Load } from "./load.ts";

const KEY_SPACE = { secret: new Uint8Array(), modelFingerprint: "trace", layout: "trace" };

/** A request as the prefix cache sees it. */
export interface CachedRequest {
  /** When it comes, milliseconds. */
  readonly ms: number;
  /** What is looked up, in whole blocks, and cached. */
  readonly prompt: () => Uint32Array;
  /** What is cached behind it; absent: nothing. */
  readonly output?: () => Uint32Array;
}

/** The cache that requests are replayed through. */
export interface ReplayedCache {
  /** Blocks it may hold. */
  readonly capacity: number;
  /** Tokens of a block. */
  readonly blockSize: number;
  readonly policy: EvictionPolicyName;
  /** As of the prefix cache. */
  readonly numTailTokens?: number;
}

/** What a replay found. */
export interface ReplayedHits {
  /** Share of all blocks asked for that were found. */
  readonly hitRate: number;
  /** Blocks of each request that were not found, in order of requests. */
  readonly missed: Uint32Array;
}

/** What each token of an answer takes where nothing computes it, milliseconds. */
const TOKEN_MS = 20;

/** A load's requests in the order in which they would come if none had to wait. */
export function inOrder({ sessions }: Load): CachedRequest[] {
  const requests = sessions.flatMap(({ turns }) => {
    let ms = 0;
    return turns.map(({ gapMs, prompt, outputLen, token }) => {
      ms += gapMs;
      const request = {
        ms,
        prompt,
        output: () => Uint32Array.from({ length: outputLen }, (_, i) => token(i)),
      };
      ms += outputLen * TOKEN_MS;
      return request;
    });
  });
  return requests.sort((a, b) => a.ms - b.ms);
}

/** One request after the other: what is found is used, what is missing is cached. */
export function replayHits(
  requests: readonly CachedRequest[],
  { capacity, blockSize, ...options }: ReplayedCache,
): ReplayedHits {
  let nowMs = 0;
  const now = () => nowMs;
  const pool = new BlockPool(capacity);
  const cache = new PrefixCache(pool, blockSize, { keySpace: KEY_SPACE, now, ...options });
  const missed = new Uint32Array(requests.length);
  let numAsked = 0;
  let numFound = 0;
  for (const [i, { ms, prompt, output }] of requests.entries()) {
    nowMs = ms;
    const asked = prompt();
    const found = cache.match("", asked, asked.length);
    const numBlocks = Math.floor(asked.length / blockSize);
    numAsked += numBlocks;
    numFound += found.length;
    missed[i] = numBlocks - found.length;
    cache.retain(found);
    cache.noteHit({ nodes: found, blocks: [found], numKnown: found.length });
    cache.release(hold(cache, found, output === undefined ? asked : join(asked, output())));
  }
  cache.checkIntegrity();
  return { hitRate: numFound / numAsked, missed };
}

/** Caches what follows on `found`. A request larger than the whole cache keeps what fits. */
function hold(cache: PrefixCache, found: readonly BlockId[], tokens: Uint32Array): BlockId[] {
  const held = [...found];
  const numBlocks = Math.floor(tokens.length / cache.blockSize);
  while (held.length < numBlocks && cache.numAvailable > 0) {
    const [id] = cache.take([1], 0)[0]!;
    const place = { scope: "", parent: held.at(-1) };
    const at = cache.insert(place, id!, { tokens, start: held.length * cache.blockSize });
    if (at !== id) {
      // It is there already, behind what the look-up may find.
      cache.release([id!]);
      cache.retain([at]);
    }
    held.push(at);
  }
  return held;
}

function join(a: Uint32Array, b: Uint32Array): Uint32Array {
  const tokens = new Uint32Array(a.length + b.length);
  tokens.set(a);
  tokens.set(b, a.length);
  return tokens;
}

import { type CacheSpec, ONE_FULL_GROUP } from "../core/cache_group.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";

/** The size of the KV pool, and what shares it. */
export interface PoolSize {
  /** Blocks; slabs, where several cache groups share the pool. */
  readonly numBlocks: number;
  /** Token positions per block. */
  readonly blockSize: number;
  /** Tokens of one sequence that the pool holds; absent: those of all its blocks, or not known. */
  readonly numPoolTokens?: number;
  /** What layers keep, group by group; absent: one group of full attention. */
  readonly cacheGroups?: readonly CacheSpec[];
}

/** What pins hold of the pool. */
export interface PinnedSize {
  readonly numBlocks: number;
  /** Leading positions of their prefixes. */
  readonly numTokens: number;
}

const NOTHING_PINNED: PinnedSize = { numBlocks: 0, numTokens: 0 };

/** Tokens of one sequence that the pool holds. */
export function poolTokens({ numBlocks, blockSize, numPoolTokens }: PoolSize): number {
  return numPoolTokens ?? numBlocks * blockSize;
}

/**
 * How large the pool is, in a clause, and how many tokens of one sequence it holds, where that is
 * known and has a limit.
 */
export function describePool(pool: PoolSize): string {
  const size = describeSize(pool);
  const numTokens = tokenLimit(pool);
  return `the whole KV cache ${
    numTokens < Infinity ? `holds ${numTokens} (${size})` : `has ${size}`
  }`;
}

/** The most tokens of one sequence in the pool; `Infinity` where that is unknown, or any number. */
function tokenLimit(pool: PoolSize): number {
  const { numPoolTokens, cacheGroups = ONE_FULL_GROUP } = pool;
  const isOneFull = cacheGroups.length === 1 && cacheGroups[0]!.kind === "full";
  return isOneFull ? poolTokens(pool) : numPoolTokens ?? Infinity;
}

/** The size of a pool, or of a part of one, in what it is counted in. */
export function describeSize(
  { numBlocks, blockSize, cacheGroups = ONE_FULL_GROUP }: PoolSize,
): string {
  const { length } = cacheGroups;
  return length > 1
    ? `${numBlocks} slabs in blocks of ${blockSize}, shared by ${length} cache groups`
    : `${numBlocks} blocks of ${blockSize}`;
}

/** What the size of a pool is counted in. */
function unitOf({ cacheGroups = ONE_FULL_GROUP }: PoolSize): string {
  return cacheGroups.length > 1 ? "slabs" : "blocks";
}

/** The pool is too small for the next token of the only running sequence. */
export function poolOutgrown(
  numTokens: number,
  pool: PoolSize,
  pinned?: PinnedSize,
): ErrorData {
  const what = `The sequence has grown to ${numTokens} tokens`;
  return outOfRoom(what, numTokens, pool, pinned);
}

/** The pool is too small for a sequence that would run alone, since prefixes are pinned. */
export function poolExceeded(
  numTokens: number,
  pool: PoolSize,
  pinned?: PinnedSize,
): ErrorData {
  return outOfRoom(`The sequence has ${numTokens} tokens`, numTokens, pool, pinned);
}

/** The blocks that the beams of a search take together. */
export interface BeamsInBlocks {
  readonly numBeams: number;
  /** Tokens of each beam. */
  readonly numTokens: number;
  /** Blocks of all of them, shared ones counted once; slabs, where several cache groups share. */
  readonly numNeeded: number;
}

/** The pool is too small for the beams of the only running search. */
export function poolExceededByBeams(
  beams: BeamsInBlocks,
  pool: PoolSize,
  pinned?: PinnedSize,
): ErrorData {
  const message = describeBeams(beams, pool) + describePinned(pool, pinned);
  const details = detailsOfBeams(beams, pool);
  return new RequestError(message, { code: "kv_cache_exceeded", details }).data;
}

/** That the beams do not fit, in a sentence. */
export function describeBeams(
  { numBeams, numTokens, numNeeded }: BeamsInBlocks,
  pool: PoolSize,
): string {
  return `The ${numBeams} beams of the search have ${numTokens} tokens each, which take ${numNeeded} ` +
    `${unitOf(pool)} together, but ${describePool(pool)}`;
}

/** The same for programs to read. */
export function detailsOfBeams({ numBeams, numNeeded }: BeamsInBlocks, { numBlocks }: PoolSize) {
  return { n_beams: numBeams, n_blocks: numNeeded, n_kv_cache_blocks: numBlocks };
}

/** The refusal to clear the prefix cache while `numSequences` hold blocks of it. */
export function cacheInUse(numSequences: number): RequestError {
  return new RequestError(
    `The prefix cache is in use: ${numSequences} running sequences hold blocks; ask to preempt them, ` +
      `or wait until they end`,
    { status: 409, code: "prefix_cache_in_use", details: { n_sequences: numSequences } },
  );
}

function describePinned(pool: PoolSize, { numBlocks } = NOTHING_PINNED): string {
  return numBlocks > 0 ? `, and ${numBlocks} of these ${unitOf(pool)} are pinned` : "";
}

function outOfRoom(
  what: string,
  numTokens: number,
  pool: PoolSize,
  pinned: PinnedSize = NOTHING_PINNED,
): ErrorData {
  const limit = tokenLimit(pool);
  const details = {
    n_tokens: numTokens,
    ...(limit < Infinity ? { n_kv_cache_tokens: limit } : {}),
    ...(pinned.numBlocks > 0 ? { n_pinned_tokens: pinned.numTokens } : {}),
  };
  return new RequestError(`${what}, but ${describePool(pool)}${describePinned(pool, pinned)}`, {
    code: "kv_cache_exceeded",
    details,
  }).data;
}

import type { LiveRecord, RankedRecord } from "./record_ranking.ts";

/** Limits of what is computed again of a set of prefixes. */
export interface HotPathLimits {
  /** Most tokens of all chosen prefixes together; what they share counts once. */
  readonly maxTokens: number;
  /** Most tokens of one prefix. */
  readonly maxPathTokens: number;
}

/** A prefix from its first token on, worth computing again. */
export interface HotPath {
  /** Key of its last block, which tells it from all others. */
  readonly key: string;
  readonly scope: string;
  readonly numTokens: number;
  /** Those of them that no hotter prefix of the choice begins with. */
  readonly numOwnTokens: number;
  /** Prompt tokens that the blocks of this prefix will save, if the future is like the past. */
  readonly savedTokens: number;
  /** All its tokens, whole blocks. O(numTokens). */
  toTokens(): Uint32Array;
}

/**
 * The prefixes to compute again, hottest first: those whose blocks would save most tokens within a
 * budget.
 *
 * A block saves its tokens at each use, so the best set of blocks takes them in their ranking as
 * long as they fit, and a block never comes before its parent. The prefixes are the paths to the
 * leaves of that set, so none is the beginning of another.
 */
export function chooseHotPaths(ranked: readonly RankedRecord[], limits: HotPathLimits): HotPath[] {
  const chosen = new Map<LiveRecord, RankedRecord>();
  const inner = new Set<LiveRecord>();
  let numTokens = 0;
  for (const entry of ranked) {
    const { tokens, depth, parent } = entry.record;
    if ((depth + 1) * tokens.length > limits.maxPathTokens) continue;
    numTokens += tokens.length;
    if (numTokens > limits.maxTokens) break;
    chosen.set(entry.record, entry);
    if (parent !== undefined) inner.add(parent);
  }
  const seen = new Set<LiveRecord>();
  return [...chosen.values()]
    .filter(({ record }) => !inner.has(record))
    .map((leaf) => ({ leaf, savedTokens: savedTokens(leaf.record, chosen) }))
    .sort((a, b) =>
      b.savedTokens - a.savedTokens || b.leaf.lastUsed - a.leaf.lastUsed ||
      (a.leaf.record.key < b.leaf.record.key ? -1 : 1)
    )
    .map(({ leaf, savedTokens }) => toPath(leaf.record, savedTokens, seen));
}

function savedTokens(leaf: LiveRecord, ranked: ReadonlyMap<LiveRecord, RankedRecord>): number {
  let saved = 0;
  for (const record of upwards(leaf)) saved += ranked.get(record)!.heat * record.tokens.length;
  return saved;
}

/** `seen` are the records of all hotter paths, to which those of this one are added. */
function toPath(leaf: LiveRecord, savedTokens: number, seen: Set<LiveRecord>): HotPath {
  const numTokens = (leaf.depth + 1) * leaf.tokens.length;
  let numOwnTokens = 0;
  for (const record of upwards(leaf)) {
    if (seen.has(record)) break;
    seen.add(record);
    numOwnTokens += record.tokens.length;
  }
  return {
    key: leaf.key,
    scope: leaf.scope,
    numTokens,
    numOwnTokens,
    savedTokens,
    toTokens() {
      const tokens = new Uint32Array(numTokens);
      for (const record of upwards(leaf)) {
        tokens.set(record.tokens, record.depth * record.tokens.length);
      }
      return tokens;
    },
  };
}

/** A record and those before it, the first block last. */
function* upwards(leaf: LiveRecord): Generator<LiveRecord> {
  for (let at: LiveRecord | undefined = leaf; at !== undefined; at = at.parent) yield at;
}

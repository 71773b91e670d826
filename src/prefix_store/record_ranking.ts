import type { PrefixRecord } from "./prefix_record.ts";

/** A record in memory: its statistics change, its place does not. */
export interface LiveRecord extends PrefixRecord {
  hits: number;
  lastUsed: number;
  /** The record of the block before it; undefined for a first block. */
  readonly parent: LiveRecord | undefined;
  /** Blocks before it. */
  readonly depth: number;
}

/** A record with the totals of its subtree. */
export interface RankedRecord {
  readonly record: LiveRecord;
  /**
   * Prompts that used the block, aged, and one more for the prompt that computed it, as old as the
   * latest use: each saves all its tokens, if the future is like the past.
   */
  readonly heat: number;
  /** The latest `lastUsed` of the block and all that build on it. */
  readonly lastUsed: number;
}

/** What is left after `ageMs` of something that halves; a clock that went back ages nothing. */
function decay(ageMs: number, halfLifeMs: number): number {
  return 2 ** (-Math.max(0, ageMs) / halfLifeMs);
}

/** `hits` as they count at `now`. */
export function agedHits(
  { hits, lastUsed }: PrefixRecord,
  now: number,
  halfLifeMs: number,
): number {
  return hits * decay(now - lastUsed, halfLifeMs);
}

/**
 * All records, hottest first. A block stands before all that build on it, since whatever uses those
 * uses it; so every beginning of this order is a set of whole prefixes. O(n log n).
 */
export function rankRecords(
  records: Iterable<LiveRecord>,
  now: number,
  halfLifeMs: number,
): RankedRecord[] {
  const deepestFirst = [...records].sort((a, b) => b.depth - a.depth);
  const sums = new Map<LiveRecord, { uses: number; lastUsed: number }>();
  for (const record of deepestFirst) {
    sums.set(record, { uses: agedHits(record, now, halfLifeMs), lastUsed: record.lastUsed });
  }
  for (const record of deepestFirst) {
    if (record.parent === undefined) continue;
    const { uses, lastUsed } = sums.get(record)!;
    const ofParent = sums.get(record.parent)!;
    ofParent.uses += uses;
    ofParent.lastUsed = Math.max(ofParent.lastUsed, lastUsed);
  }
  return [...sums]
    .map(([record, { uses, lastUsed }]) => (
      { record, heat: uses + decay(now - lastUsed, halfLifeMs), lastUsed }
    ))
    .sort((a, b) =>
      b.heat - a.heat || b.lastUsed - a.lastUsed || a.record.depth - b.record.depth ||
      (a.record.key < b.record.key ? -1 : 1)
    );
}

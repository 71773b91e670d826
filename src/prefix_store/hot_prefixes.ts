import { invariant } from "../base/invariant.ts";
import type { KvEvent } from "../core/kv_event.ts";
import { chooseHotPaths, type HotPath, type HotPathLimits } from "./hot_paths.ts";
import type { PrefixRecord, RecordChanges } from "./prefix_record.ts";
import { agedHits, type LiveRecord, rankRecords } from "./record_ranking.ts";

/** How much is remembered, and for how long. */
export interface HotPrefixesOptions {
  /** Most records; the coldest leaves go when there are more. At least 1. */
  readonly maxRecords: number;
  /** Time in which hits lose half their weight, in ms. */
  readonly halfLifeMs: number;
  /** A prefix that nobody used for so long is forgotten, in ms. */
  readonly forgetAfterMs: number;
  /** Whether prefixes of a scope may be remembered at all; all may unless given. */
  readonly mayRecord?: (scope: string) => boolean;
}

/** Share of the records kept when there are too many, so that ranking them is rare. */
const KEEP_SHARE = 7 / 8;

type StoredEvent = KvEvent & { readonly type: "stored" };

/**
 * Which prefixes prompts have in common, learned from the events of the prefix cache.
 *
 * Records form a forest, each block below the one before it, and no record is without its parent. What
 * leaves the cache stays here: to be computed again it need not be cached. An event costs O(blocks in
 * it), and now and then, when a bound is reached, O(records log records).
 */
export class HotPrefixes {
  readonly #options: HotPrefixesOptions;
  readonly #mayRecord: (scope: string) => boolean;
  readonly #records = new Map<string, LiveRecord>();
  /**
   * Root key of each scope, latest used last. The first block stored in a scope since the cache was
   * empty has the root as its parent; any other parent that has no record was forgotten, and what
   * follows it cannot be computed from here.
   */
  readonly #roots = new Map<string, string>();
  /** Keys whose record has changed or gone, with its depth. */
  readonly #changed = new Map<string, number>();

  constructor(options: HotPrefixesOptions) {
    invariant(options.maxRecords >= 1, `at most ${options.maxRecords} records`);
    this.#options = options;
    this.#mayRecord = options.mayRecord ?? (() => true);
  }

  /** Records held, at most `maxRecords`. */
  get size(): number {
    return this.#records.size;
  }

  /** Takes over what an earlier process remembered; what may not be held counts as a change. */
  load(records: Iterable<PrefixRecord>, now: number): void {
    invariant(this.#records.size === 0, "load() after the first records");
    const all = [...records];
    const allowed = all.filter(({ scope }) => this.#mayRecord(scope));
    const keys = new Set(allowed.map(({ key }) => key));
    const children = Map.groupBy(allowed, ({ parentKey }) => keys.has(parentKey) ? parentKey : "");
    const queue = [...children.get("") ?? []];
    for (let i = 0; i < queue.length; i++) {
      const { hits, lastUsed, ...place } = queue[i]!;
      this.#add(place, this.#records.get(place.parentKey), lastUsed, hits);
      queue.push(...children.get(place.key) ?? []);
    }
    this.#changed.clear();
    // Forbidden scopes, and in a damaged store circles of parents, which no path from a root enters.
    for (const { key } of all) if (!this.#records.has(key)) this.#changed.set(key, 0);
    this.#trim(now);
  }

  /** Takes in one event. `isReheat`: the server's own doing, which is no use of a prefix. */
  fold(event: KvEvent, now: number, isReheat = false): void {
    if (event.type === "stored") this.#store(event, now, isReheat);
    if (event.type === "used" && !isReheat) this.#use(event.key, 1, now);
    if (event.type === "cleared") this.#roots.clear();
    this.#trim(now);
  }

  /** Drops what nobody has used for too long. */
  forget(now: number): void {
    const ranked = rankRecords(this.#records.values(), now, this.#options.halfLifeMs);
    const oldest = now - this.#options.forgetAfterMs;
    for (const { record, lastUsed } of ranked.reverse()) {
      if (lastUsed < oldest) this.#drop(record);
    }
  }

  /** The prefixes to compute again, hottest first. */
  hottest(limits: HotPathLimits, now: number): HotPath[] {
    return chooseHotPaths(
      rankRecords(this.#records.values(), now, this.#options.halfLifeMs),
      limits,
    );
  }

  /** All records, in no order. */
  records(): Iterable<PrefixRecord> {
    return this.#records.values();
  }

  /** Takes what has changed since the last call; hand it to {@link returnChanges} if it is not written. */
  takeChanges(): RecordChanges {
    const changed = [...this.#changed].sort(([, a], [, b]) => a - b);
    this.#changed.clear();
    const put: PrefixRecord[] = [];
    const remove: string[] = [];
    for (const [key] of changed) {
      const record = this.#records.get(key);
      if (record === undefined) remove.push(key);
      else put.push(toPlain(record));
    }
    return { put, remove: remove.reverse() };
  }

  /** Counts changes that could not be written as changes again. */
  returnChanges({ put, remove }: RecordChanges): void {
    for (const key of remove) if (!this.#changed.has(key)) this.#changed.set(key, 0);
    for (const { key } of put) {
      if (!this.#changed.has(key)) this.#changed.set(key, this.#records.get(key)?.depth ?? 0);
    }
  }

  #store({ keys, parentKey, tokens, scope, group }: StoredEvent, now: number, isReheat: boolean) {
    if (group !== 0 || keys.length === 0 || !this.#mayRecord(scope)) return;
    const blockLen = tokens.length / keys.length;
    invariant(Number.isInteger(blockLen), `${tokens.length} tokens in ${keys.length} blocks`);
    let parent = this.#records.get(parentKey);
    if (parent === undefined && !this.#isRoot(scope, parentKey)) return;
    for (const [i, key] of keys.entries()) {
      const known = this.#records.get(key);
      // A copy of its own: a view would be written to the store with all the bytes it looks into.
      const ofBlock = () => Uint32Array.from(tokens.slice(i * blockLen, (i + 1) * blockLen));
      parent = known ??
        this.#add(
          { key, parentKey: parent?.key ?? parentKey, scope, tokens: ofBlock() },
          parent,
          now,
        );
      // A prompt had to compute again what was known: a use, of the last block and so of all before.
      if (known !== undefined && i === keys.length - 1 && !isReheat) this.#use(key, 0, now);
    }
  }

  #isRoot(scope: string, parentKey: string): boolean {
    const root = this.#roots.get(scope) ?? parentKey;
    this.#roots.delete(scope);
    this.#roots.set(scope, root);
    if (this.#roots.size > this.#options.maxRecords) {
      this.#roots.delete(this.#roots.keys().next().value!);
    }
    return root === parentKey;
  }

  #use(key: string, count: number, now: number): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    record.hits = agedHits(record, now, this.#options.halfLifeMs) + count;
    record.lastUsed = Math.max(record.lastUsed, now);
    this.#changed.set(key, record.depth);
  }

  #add(
    place: Pick<PrefixRecord, "key" | "parentKey" | "scope" | "tokens">,
    parent: LiveRecord | undefined,
    lastUsed: number,
    hits = 0,
  ): LiveRecord {
    const depth = parent === undefined ? 0 : parent.depth + 1;
    const record = { ...place, hits, lastUsed, parent, depth };
    this.#records.set(place.key, record);
    this.#changed.set(place.key, depth);
    return record;
  }

  /** Forgets a leaf; its uses go on counting for the prefix it builds on. */
  #drop(leaf: LiveRecord): void {
    const { parent } = leaf;
    this.#records.delete(leaf.key);
    this.#changed.set(leaf.key, leaf.depth);
    if (parent === undefined) return;
    const { halfLifeMs } = this.#options;
    const lastUsed = Math.max(parent.lastUsed, leaf.lastUsed);
    parent.hits = agedHits(parent, lastUsed, halfLifeMs) + agedHits(leaf, lastUsed, halfLifeMs);
    parent.lastUsed = lastUsed;
    this.#changed.set(parent.key, parent.depth);
  }

  #trim(now: number): void {
    if (this.#records.size <= this.#options.maxRecords) return;
    const ranked = rankRecords(this.#records.values(), now, this.#options.halfLifeMs);
    const numKept = Math.max(1, Math.floor(this.#options.maxRecords * KEEP_SHARE));
    for (const { record } of ranked.slice(numKept).reverse()) this.#drop(record);
  }
}

function toPlain({ key, parentKey, scope, tokens, hits, lastUsed }: LiveRecord): PrefixRecord {
  return { key, parentKey, scope, tokens, hits, lastUsed };
}

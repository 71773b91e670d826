import type { BlockMove } from "../../src/core/batch.ts";
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import type { CacheRetention } from "../../src/core/generation.ts";
import type { BlockId, SequenceId } from "../../src/core/ids.ts";

/** A cached block as the model sees it. */
interface Entry {
  block: BlockId;
  /** Order in which entries became idle; higher is later. */
  stamp: number;
  wasHit: boolean;
  priority: number;
  expiry: number;
  /** Most entries below it on a path that was let go, and whether it is a tail by that. */
  numBelow: number;
  isTail: boolean;
  numUses: number;
  /** Entries of its run when that was measured. */
  runLength: number;
}

/** Policies whose every victim the model predicts; `reuse` learns from times. */
export const MODELLED_POLICIES = [
  ...["lru", "slru", "priority", "hits-per-token", "tail-lru"] as const,
];

/** Blocks that `tail-lru` takes for a tail in tests. */
export const NUM_TAIL_BLOCKS = 2;

/** What the model knows of one table. */
interface Table {
  readonly scope: string;
  readonly retention: CacheRetention | undefined;
  readonly tokens: number[];
  /** The real table as it is now. */
  blocks: readonly BlockId[];
  numComputed: number;
  numFindable: number;
  hasDuplicate: boolean;
}

/**
 * The prefix cache said slowly: a map from whole prefixes to blocks, searched from end to end.
 *
 * It takes the ids of new blocks from the real thing and predicts everything else: what is found,
 * whether there is room, what is evicted for it, and what is cached, idle and free.
 */
export class CacheModel {
  readonly tables = new Map<SequenceId, Table>();
  readonly cached = new Map<string, Entry>();
  readonly pins = new Map<string, BlockId[]>();
  now = 0;
  numEvicted = 0;
  #numStamps = 0;
  #numBlocks: number;

  constructor(
    readonly sizes: {
      readonly numBlocks: number;
      readonly blockSize: number;
      readonly numWatermarkBlocks: number;
    },
    readonly policy: EvictionPolicyName,
  ) {
    this.#numBlocks = sizes.numBlocks;
  }

  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** Blocks in tables. */
  get numInUse(): number {
    return this.#used.size - this.numIdle;
  }

  /** Blocks in tables or in the cache. */
  get #used(): Set<BlockId> {
    const used = new Set<BlockId>();
    for (const { blocks } of this.tables.values()) for (const block of blocks) used.add(block);
    for (const { block } of this.cached.values()) used.add(block);
    return used;
  }

  get numFree(): number {
    return this.#numBlocks - this.#used.size;
  }

  get numIdle(): number {
    return this.#idle().length;
  }

  /** Blocks found for a prompt: never all of it. */
  match(scope: string, tokens: readonly number[]): BlockId[] {
    const found: BlockId[] = [];
    for (let end = this.sizes.blockSize; end < tokens.length; end += this.sizes.blockSize) {
      const entry = this.cached.get(prefixOf(scope, tokens, end));
      if (entry === undefined) break;
      found.push(entry.block);
    }
    return found;
  }

  /** Whether `numNew` blocks can be had beside `found`, by an admission or (without) by growth. */
  hasRoom(numNew: number, found: readonly BlockId[] | undefined): boolean {
    const idle = this.#idle();
    const numIdleFound = found === undefined || found.length === 0
      ? 0
      : idle.filter(([, { block }]) => found.includes(block)).length;
    const isKept = found !== undefined && this.tables.size > 0;
    const numHeadroomSlabs = isKept ? this.sizes.numWatermarkBlocks : 0;
    return numNew <= this.numFree + idle.length - numIdleFound - numHeadroomSlabs;
  }

  /** Enters a table whose first blocks are `found`; the others are new. */
  admit(
    id: SequenceId,
    tokens: readonly number[],
    options: { scope: string; retention: CacheRetention | undefined },
    blocks: { found: readonly BlockId[]; table: readonly BlockId[]; isHit: boolean },
  ): void {
    const { found, table, isHit } = blocks;
    for (const entry of isHit && found.length > 0 ? this.cached.values() : []) {
      if (!found.includes(entry.block)) continue;
      entry.wasHit = true;
      entry.numUses++;
      if (options.retention !== undefined) this.#retain(entry, options.retention);
    }
    this.#evictFor(table.length - found.length, found);
    this.tables.set(id, {
      ...options,
      tokens: [...tokens],
      blocks: table,
      numComputed: 0,
      numFindable: isHit ? found.length : 0,
      hasDuplicate: false,
    });
  }

  /** Makes room for blocks that a table has been given at its end. */
  grow(numNew: number): void {
    this.#evictFor(numNew, []);
  }

  /** Makes room for a pool of another size. */
  shrinkTo(numBlocks: number): void {
    this.#evictFor(Math.max(0, this.#numBlocks - numBlocks), []);
  }

  /** Takes the new size, when the ids of what is beyond it have become others. */
  resize(numBlocks: number, moves: readonly BlockMove[]): void {
    this.#numBlocks = numBlocks;
    for (const entry of this.cached.values()) {
      entry.block = idAfter(moves, entry.block);
    }
    for (const table of this.tables.values()) {
      table.blocks = table.blocks.map((id) => idAfter(moves, id));
    }
    for (const [name, blocks] of this.pins) {
      this.pins.set(name, blocks.map((id) => idAfter(moves, id)));
    }
    while (this.policy === "slru" && this.#demote());
  }

  /** The ids of all blocks that hold something. */
  usedIds(): ReadonlySet<BlockId> {
    return this.#used;
  }

  /** Enters what a table has computed. */
  compute(id: SequenceId, numComputed: number): void {
    const table = this.tables.get(id)!;
    table.numComputed = numComputed;
    while (!table.hasDuplicate && (table.numFindable + 1) * this.sizes.blockSize <= numComputed) {
      this.#insert(table, table.numFindable);
      const end = (table.numFindable + 1) * this.sizes.blockSize;
      const entry = this.cached.get(prefixOf(table.scope, table.tokens, end))!;
      if (entry.block === table.blocks[table.numFindable]) table.numFindable++;
      else table.hasDuplicate = true;
    }
  }

  free(id: SequenceId): void {
    const table = this.tables.get(id)!;
    this.tables.delete(id);
    const held = new Set(table.blocks);
    if (table.hasDuplicate) {
      const numFull = Math.floor(table.numComputed / this.sizes.blockSize);
      for (let at = table.numFindable; at < numFull; at++) {
        const prefix = prefixOf(table.scope, table.tokens, (at + 1) * this.sizes.blockSize);
        const isShared = [...this.tables.values()].some(({ blocks }) =>
          blocks.includes(table.blocks[at]!)
        );
        if (!this.cached.has(prefix) && isShared) break;
        this.#insert(table, at);
        held.add(this.cached.get(prefix)!.block);
      }
    }
    this.#stamp(held);
  }

  /** Blocks that pins hold, shared ones counted for each. */
  get numPinned(): number {
    return [...this.pins.values()].flat().length;
  }

  /** What a pin of these tokens would hold: whole blocks, the last token's among them. */
  pinnable(scope: string, tokens: readonly number[]): BlockId[] {
    return this.match(scope, [...tokens, 0]);
  }

  /** Whether a pool of `numBlocks` may have so many of them pinned. */
  mayPin(numPinned: number, numBlocks: number): boolean {
    return numPinned <= Math.floor(numBlocks / 2);
  }

  pin(name: string, blocks: BlockId[]): void {
    const before = this.pins.get(name) ?? [];
    this.pins.set(name, blocks);
    this.#stamp(new Set(before.filter((id) => !blocks.includes(id))));
  }

  unpin(name: string): void {
    const before = this.pins.get(name) ?? [];
    this.pins.delete(name);
    this.#stamp(new Set(before));
  }

  clear(): void {
    this.pins.clear();
    this.cached.clear();
  }

  #insert(table: Table, at: number): void {
    const prefix = prefixOf(table.scope, table.tokens, (at + 1) * this.sizes.blockSize);
    if (this.cached.has(prefix)) return;
    const block = table.blocks[at]!;
    const entry: Entry = {
      ...{ block, stamp: -1, wasHit: false, priority: 35, expiry: Infinity },
      ...{ numBelow: 0, isTail: false, numUses: 1, runLength: 1 },
    };
    if (table.retention !== undefined) this.#retain(entry, table.retention);
    this.cached.set(prefix, entry);
  }

  #retain(entry: Entry, { priority, durationMs = Infinity }: CacheRetention): void {
    entry.priority = priority;
    entry.expiry = this.now + durationMs;
  }

  #idle(): [string, Entry][] {
    const held = new Set<BlockId>();
    for (const { blocks } of this.tables.values()) for (const block of blocks) held.add(block);
    for (const blocks of this.pins.values()) for (const block of blocks) held.add(block);
    const idle: [string, Entry][] = [];
    for (const each of this.cached) if (!held.has(each[1].block)) idle.push(each);
    return idle;
  }

  /** Those of `held` that are idle now became so in this order: the longest prefix first. */
  #stamp(held: ReadonlySet<BlockId>): void {
    if (held.size === 0) return;
    const idle = this.#idle().filter(([, { block }]) => held.has(block));
    idle.sort(([a], [b]) => b.length - a.length);
    for (const [, entry] of idle) entry.stamp = Infinity;
    for (const [prefix, entry] of idle) {
      entry.stamp = this.#numStamps++;
      this.#measure(prefix, entry);
      if (this.policy === "slru") this.#demote();
    }
  }

  /** What policies note as an entry becomes idle. */
  #measure(prefix: string, entry: Entry): void {
    entry.isTail = entry.numBelow < NUM_TAIL_BLOCKS;
    const parent = this.#parentOf(prefix);
    if (parent) parent[1].numBelow = Math.max(parent[1].numBelow, entry.numBelow + 1);
    if (!this.#isLeaf(prefix)) return;
    const run = [entry];
    let above = parent;
    while (above?.[1].numUses === entry.numUses) {
      run.push(above[1]);
      above = this.#parentOf(above[0]);
    }
    for (const member of run) member.runLength = run.length;
  }

  #parentOf(prefix: string): [string, Entry] | undefined {
    const above = prefix.split(" ").slice(0, -this.sizes.blockSize).join(" ");
    const entry = this.cached.get(above);
    return entry && [above, entry];
  }

  #isLeaf(prefix: string): boolean {
    const start = `${prefix} `;
    for (const other of this.cached.keys()) if (other.startsWith(start)) return false;
    return true;
  }

  /** The longest idle of too many protected entries goes back on probation. */
  #demote(): boolean {
    const isProtected = this.#idle().map(([, entry]) => entry).filter(({ wasHit, stamp }) =>
      wasHit && stamp < Infinity
    );
    if (isProtected.length <= Math.floor(0.8 * this.#numBlocks)) return false;
    const demoted = isProtected.reduce((a, b) => a.stamp < b.stamp ? a : b);
    demoted.wasHit = false;
    demoted.stamp = this.#numStamps++;
    return true;
  }

  #evictFor(numNew: number, found: readonly BlockId[]): void {
    if (numNew <= 0) return;
    for (let missing = numNew - this.numFree; missing > 0; missing--) {
      const idle = this.#idle().filter(([, { block }]) => !found.includes(block));
      const leaves = idle.filter(([prefix]) => this.#isLeaf(prefix));
      const [victim] = leaves.reduce((a, b) => this.#rank(a[1]) < this.#rank(b[1]) ? a : b);
      this.cached.delete(victim);
      this.numEvicted++;
    }
  }

  #rank(entry: Entry): number {
    const { stamp, wasHit, priority, expiry } = entry;
    if (this.policy === "tail-lru") return (entry.isTail ? 0 : 1e9) + stamp;
    if (this.policy === "hits-per-token") return entry.numUses / entry.runLength * 1e9 + stamp;
    if (this.policy === "lru") return stamp;
    if (this.policy === "slru") return (wasHit ? 1e9 : 0) + stamp;
    return (expiry <= this.now ? 35 : priority) * 1e9 + stamp;
  }
}

/** Scope and the first `end` tokens; a prefix of it is a prefix of the tokens. */
function prefixOf(scope: string, tokens: readonly number[], end: number): string {
  return `${scope}: ${tokens.slice(0, end).join(" ")}`;
}

function idAfter(moves: readonly BlockMove[], id: BlockId): BlockId {
  return moves.find(({ from }) => from === id)?.to ?? id;
}

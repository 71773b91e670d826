import type { EvictedPrefix } from "../../core/miss_report.ts";
import type { BlockKey, BlockKeyer } from "./block_key.ts";
import type { CacheListener } from "./cache_listener.ts";
import type { EntryName } from "./encoder_entry.ts";
import { EvictedBlocks } from "./evicted_blocks.ts";
import type { NodeId, RadixTree } from "./radix_tree.ts";

/**
 * What is told and counted of cached blocks that come and go: events for a listener, which name
 * blocks by their keys, the path hashes of those evicted recently, and totals.
 *
 * Keys are made only where there is a listener. It changes nothing in the cache.
 */
export class CacheRecords {
  readonly #tree: RadixTree;
  readonly #keyer: BlockKeyer;
  readonly #listener: CacheListener | undefined;
  readonly #now: () => number;
  readonly #evicted = new EvictedBlocks();
  /** Blocks that have left the tree so far, for whatever reason. */
  numDropped = 0;
  /** Those of them that were evicted to make room. */
  numEvicted = 0;
  /** Those of them that went because the cache was cleared or their content was not sound. */
  numReset = 0;

  /** @param options `now` tells milliseconds. */
  constructor(
    tree: RadixTree,
    keyer: BlockKeyer,
    { listener, now }: {
      readonly listener: CacheListener | undefined;
      readonly now: () => number;
    },
  ) {
    this.#tree = tree;
    this.#keyer = keyer;
    this.#listener = listener;
    this.#now = now;
  }

  /** The key of a node, for an event; undefined where nobody listens. */
  keyOf(node: NodeId): BlockKey | undefined {
    return this.#listener && this.#tree.keyOf(node);
  }

  /** A block of a group has become findable at a node. */
  tellStored(node: NodeId, group: number, scope: string): void {
    if (this.#listener === undefined) return;
    this.#listener.stored({
      key: this.#tree.keyOf(node),
      parentKey: this.#tree.parentKeyOf(node),
      tokens: this.#tree.copyTokensOf(node),
      scope,
      group,
    });
  }

  /** The block of a group at a node, which is still in the tree, can no longer be found. */
  tellRemoved(node: NodeId, group: number): void {
    this.#listener?.removed({ keys: [this.#tree.keyOf(node)], group });
  }

  /** Blocks of a group can no longer be found; their nodes may have left the tree. */
  tellAllRemoved(keys: readonly BlockKey[], group: number): void {
    if (keys.length > 0) this.#listener?.removed({ keys, group });
  }

  /** The output of an encoder has become findable, all its blocks under one key. */
  tellInputStored(name: EntryName): void {
    const { group, scope } = name;
    this.#listener?.stored({
      key: this.#inputKey(name),
      parentKey: this.#keyer.rootKey(scope),
      tokens: new Uint32Array(),
      scope,
      group,
    });
  }

  /** The output of an encoder can no longer be found. */
  tellInputRemoved(name: EntryName): void {
    this.#listener?.removed({ keys: [this.#inputKey(name)], group: name.group });
  }

  /** A prompt has found this node and all above it. */
  tellUsed(node: NodeId): void {
    this.#listener?.used(this.#tree.keyOf(node));
  }

  /** Everything is gone. */
  tellCleared(): void {
    this.#evicted.clear();
    this.#listener?.cleared();
  }

  /** Remembers the path of a node that is about to be evicted. */
  rememberEvicted(node: NodeId): void {
    this.#evicted.add(this.#tree.hashOf(node), this.#now());
  }

  /**
   * How many tokens right behind `found`, which `tokens` begin with, are in whole blocks that were
   * evicted recently, and how long ago the first of them was; undefined for none. The last token
   * does not count. O(1) after no eviction, else O(such blocks).
   */
  findEvicted(
    scope: string,
    tokens: Uint32Array,
    found: readonly NodeId[],
  ): EvictedPrefix | undefined {
    if (this.#evicted.isEmpty) return undefined;
    const { hasher, blockSize } = this.#tree;
    const last = found.at(-1);
    let hash = last === undefined ? hasher.root(scope) : this.#tree.hashOf(last);
    const start = found.length * blockSize;
    let end = start;
    let timeMs: number | undefined;
    while (end + blockSize < tokens.length) {
      hash = hasher.child(hash, tokens, end);
      if (!this.#evicted.has(hash)) break;
      timeMs ??= this.#evicted.timeOf(hash);
      end += blockSize;
    }
    if (timeMs === undefined) return undefined;
    return { numTokens: end - start, agoMs: this.#now() - timeMs };
  }

  /** A name for everyone outside, which does not give the content away. */
  #inputKey({ scope, key }: EntryName): BlockKey {
    return this.#keyer.childKey(this.#keyer.rootKey(scope), new Uint32Array(), [key]);
  }
}

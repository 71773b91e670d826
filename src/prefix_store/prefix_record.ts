/**
 * What is remembered of one block of a prompt, so that its KV can be computed again. It says
 * nothing of whether the block is cached at this moment, or where its bytes lie: a tier that holds
 * them adds a field here, and raises the store's format version.
 */
export interface PrefixRecord {
  /** The block's key in the prefix cache. */
  readonly key: string;
  /** Key of the block before it, or of the root of its scope. */
  readonly parentKey: string;
  /** The cache scope it can be found in; empty is the open one. */
  readonly scope: string;
  /** Tokens of this block alone. */
  readonly tokens: Uint32Array;
  /**
   * Prompts whose cached prefix ended with this block, halved once per half-life up to `lastUsed`.
   * Those that went on to a child count there: the uses of a block are the hits of its whole
   * subtree.
   */
  readonly hits: number;
  /** When a prompt last ended here, or the block was computed; milliseconds since the epoch. */
  readonly lastUsed: number;
}

/** Changes to be written to a store. */
export interface RecordChanges {
  /** Parents before their children. */
  readonly put: readonly PrefixRecord[];
  /** Keys of records that are gone, children before their parents. */
  readonly remove: readonly string[];
}

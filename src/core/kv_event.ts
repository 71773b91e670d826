/**
 * A change of what the prefix cache holds. Folding the events in order gives exactly the set of
 * cached keys; a block is removed before its room is used again.
 */
export type KvEvent =
  /** A run of blocks, each the parent of the next, has become findable. */
  | {
    readonly type: "stored";
    readonly keys: readonly string[];
    /** Key of the block before the first, or of the root of its scope. */
    readonly parentKey: string;
    /** Tokens of all these blocks, in order. */
    readonly tokens: readonly number[];
    /** The cache scope they can be found in; empty is the open one. */
    readonly scope: string;
    /** Index of the cache group: 0 is full attention, where the model has it. */
    readonly group: number;
  }
  | { readonly type: "removed"; readonly keys: readonly string[]; readonly group: number }
  /** A prompt has found the block of this key and all before it. Changes nothing that is cached. */
  | { readonly type: "used"; readonly key: string }
  /** Everything is gone: the cache was reset, or the engine restarted. */
  | { readonly type: "cleared" };

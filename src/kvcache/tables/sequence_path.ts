import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockTables } from "./block_tables.ts";

/** How a sequence's blocks are cached. */
export interface CachingOptions {
  /** The scope in which blocks are looked for and become findable; default: the open one. */
  readonly scope?: string;
  readonly retention?: CacheRetention;
}

/** The scope of requests that name none. */
export const OPEN_SCOPE = "";

/** How far the blocks of one sequence are findable in the prefix cache. */
export interface SequencePath {
  /**
   * Makes blocks of `tables` findable that the first `numComputed` of `tokens` fill; `tokens` is
   * kept and must not change in that range. O(blocks that become findable).
   */
  publish(tables: BlockTables, tokens: Uint32Array, numComputed: number): void;
  /** Frees what no later hit can need of those that its tables have let go. */
  dropPassed(): void;
  /**
   * Makes the rest findable, and returns the blocks that the holder of `tables` is to release, each
   * list from the first positions on.
   */
  end(tables: BlockTables): readonly (readonly BlockId[])[];
  /** Lets go of what it holds beside those blocks, after they have been released. */
  close(): void;
  /**
   * Makes unfindable what cannot be trusted of a sequence's blocks: all that were filled here, and
   * of those that its `tokens` find, all but the first `numSound`; with everything that hangs below
   * them. Nothing becomes findable by it later.
   */
  forget(tables: BlockTables, tokens: Uint32Array, numSound: number): void;
  /**
   * Gives back what it holds beside the blocks of `tables` and nobody else needs; returns whether
   * there was any.
   */
  returnAdopted(tables: BlockTables): boolean;
  /** Adds what it holds beside the tables to `counts`, one entry per block; for audits. */
  countReferences(counts: number[]): void;
  /** Adds the nodes it holds to `counts`, one entry per node; for audits. */
  countNodes(counts: number[]): void;
  /** Follows its blocks to their new ids. */
  remap(remap: BlockRemap): void;
}

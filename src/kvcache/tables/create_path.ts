import { omitUndefined } from "../../base/omit_undefined.ts";
import type { BlockId } from "../../core/ids.ts";
import type { Hit } from "../prefix/longest_hit.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import { OneFullGroupPath } from "./one_full_group_path.ts";
import { GroupPath } from "./group_path.ts";
import { keptLengths } from "./kept_lengths.ts";
import type { CachingOptions, SequencePath } from "./sequence_path.ts";

/** How a sequence begins. */
export interface SequenceStart {
  readonly hit: Hit;
  /** Tokens known at that time, of the prompt in most cases. */
  readonly numTokens: number;
  /** The path of the sequence that it forks, and how many whole blocks it shares. */
  readonly source?: SequencePath | undefined;
  readonly numBlocks?: number;
  readonly snapshotInterval?: number | undefined;
}

/**
 * The path of a new sequence; undefined without a prefix cache.
 *
 * Two lengths of it are kept for later hits: the last that the same tokens can find, and, where
 * they part from others behind the hit, that junction (Marconi, arXiv:2411.19379).
 */
export function createPath(
  cache: PrefixCache | undefined,
  options: CachingOptions,
  start: SequenceStart,
): SequencePath | undefined {
  if (cache === undefined) return undefined;
  const { hit, numTokens, source, numBlocks = 0, snapshotInterval } = start;
  if (cache.columns === undefined) {
    return new OneFullGroupPath(cache, hit.nodes as BlockId[], options);
  }
  const fork = source instanceof GroupPath ? { path: source, numBlocks } : undefined;
  const keep = keptLengths(hit, numTokens, cache.blockSize);
  const optional = omitUndefined({ source: fork, snapshotInterval });
  return new GroupPath(cache, options, { hit, keep, numTokens, ...optional });
}

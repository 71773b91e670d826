import { alignDown } from "../base/math.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** How a waiting sequence comes to the KV of its prompt. */
export type Sharing =
  /** By itself, from whatever the prefix cache has. */
  | { readonly type: "admit" }
  /** From this running sequence, which has computed the same prompt. */
  | { readonly type: "fork"; readonly source: SequenceGroup }
  /** Later: a running sequence is computing a prefix that it can share then. */
  | { readonly type: "wait"; readonly reason: "shared_prefix" | "sibling_prompt" };

const ADMIT: Sharing = { type: "admit" };

/**
 * Numbers the sequences of a request by prompt: those with equal prompts have the index of the
 * first of them. O(sequences * distinct prompts), where most comparisons end early.
 */
export function promptIndices(sequences: readonly SequenceRequest[]): number[] {
  const indices: number[] = [];
  const firsts: number[] = [];
  sequences.forEach(({ prompt }, index) => {
    const first = firsts.find((other) => isEqual(sequences[other]!.prompt, prompt));
    if (first === undefined) firsts.push(index);
    indices.push(first ?? index);
  });
  return indices;
}

/**
 * Decides how a waiting group starts, given those that run and those of its own request.
 *
 * Of several sequences with one prompt the first computes it, and the others fork it; of several
 * requests that begin alike the first computes the common blocks, and the others wait and find
 * them. Waiting ends when that sequence has got there or runs no more, so it never outlasts its
 * cause.
 */
export function chooseSharing(
  group: SequenceGroup,
  others: {
    readonly running: readonly SequenceGroup[];
    readonly siblings: readonly SequenceGroup[];
  },
  blocks: BlockManager,
): Sharing {
  if (blocks.swap?.find(group.id) !== undefined) return ADMIT;
  // What another computes cannot be read.
  if ((group.maxCachedTokens ?? Infinity) < group.numPromptTokens - 1) return ADMIT;
  const sibling = others.siblings.find((other) =>
    other.state === "running" && other.promptIndex === group.promptIndex &&
    other.caching.scope === group.caching.scope
  );
  // All but the last prompt position, which every fork computes to draw its own first token.
  const numShared = group.numPromptTokens - 1;
  if (sibling !== undefined && group.numOutputTokens === 0 && numShared > 0) {
    const isThere = sibling.numComputedTokens >= numShared && !blocks.swap?.isLoading(sibling.id);
    if (!isThere) return { type: "wait", reason: "sibling_prompt" };
    // A window or a state may have moved on; then the cache has what it kept at the prompt's end.
    if (blocks.canFork(sibling.id, numShared)) return { type: "fork", source: sibling };
  }
  if (blocks.canHit && isPrefixOnItsWay(group, others.running, blocks)) {
    return { type: "wait", reason: "shared_prefix" };
  }
  return ADMIT;
}

/** Whether a running sequence is to compute a block that `group` could use and cannot find yet. */
function isPrefixOnItsWay(
  group: SequenceGroup,
  running: readonly SequenceGroup[],
  blocks: BlockManager,
): boolean {
  const limit = alignDown(group.numTokens - 1, blocks.blockSize);
  // Only blocks beyond what the other has computed are on their way, and most have none.
  const ahead = running.filter((other) =>
    other.caching.scope === group.caching.scope &&
    Math.min(limit, alignDown(other.numTokens, blocks.blockSize)) > other.numComputedTokens
  );
  if (ahead.length === 0) return false;
  const numCached = blocks.numTokensCached(group.allTokens, group.caching.scope);
  return ahead.some((other) => {
    const end = Math.min(limit, other.numTokens);
    const common = commonLength(group.allTokens, other.allTokens, end);
    return alignDown(common, blocks.blockSize) > Math.max(numCached, other.numComputedTokens);
  });
}

function isEqual(a: Uint32Array, b: Uint32Array): boolean {
  return a === b || (a.length === b.length && commonLength(a, b, a.length) === a.length);
}

/** Length of the common prefix of `a` and `b`, at most `limit`; the first `known` are equal. */
export function commonLength(a: Uint32Array, b: Uint32Array, limit: number, known = 0): number {
  let i = known;
  while (i < limit && a[i] === b[i]) i++;
  return i;
}

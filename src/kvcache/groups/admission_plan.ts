import type { BlockId } from "../../core/ids.ts";
import type { ContentKey } from "./block_index.ts";
import type { EncoderEntries } from "./encoder_entries.ts";
import {
  type GroupSpec,
  liveBlocks,
  maxLiveBlocks,
  numEncoderBlocks,
  numLiveBlocks,
} from "./group_spec.ts";
import type { InputBlocks } from "./group_tables.ts";
import { type HybridHit, NO_BLOCK } from "./hybrid_hit.ts";
import type { Demand } from "./slab_pool.ts";

/** An image, a sound or a text that an encoder turns into positions of its own. */
export interface EncoderInput {
  /** Hash of the content, and of whatever else decides what the encoder makes of it. */
  readonly key: ContentKey;
  /** Positions of the encoder's output; not the number of placeholders, which may differ. */
  readonly numTokens: number;
  /** The placeholders that read it lie before this position of the sequence. */
  readonly placeholderEnd: number;
}

/** What a sequence brings when it asks to be admitted. */
export interface AdmissionRequest {
  /** Positions to make room for: all tokens known so far. */
  readonly numTokens: number;
  /** What `match` has just found for them; absent means that nothing is cached. */
  readonly hit?: HybridHit;
  readonly inputs?: readonly EncoderInput[];
}

/** An encoder input in one group: the blocks of its entry, or how many it needs. */
interface PlannedInput {
  readonly input: EncoderInput;
  readonly group: number;
  readonly found: readonly BlockId[] | undefined;
  readonly numBlocks: number;
}

/** What an admission takes from the pool, decided before anything changes. */
export interface AdmissionPlan {
  readonly demand: Demand;
  readonly inputs: readonly PlannedInput[];
}

/**
 * Decides what to retain and what to take for a sequence.
 *
 * A group gets the blocks of all known tokens, but never more than the sequence holds at once: as a
 * window moves on, the blocks that die behind it pay for those ahead.
 */
export function planAdmission(
  specs: readonly GroupSpec[],
  entries: EncoderEntries,
  { numTokens, hit, inputs = [] }: AdmissionRequest,
  maxInFlightTokens: number,
): AdmissionPlan {
  const distinct = [...latestOfEach(inputs).values()];
  const planned = specs.flatMap((spec, group) =>
    spec.kind !== "encoder" ? [] : distinct.map((input): PlannedInput => {
      const numBlocks = numEncoderBlocks(spec, input.numTokens);
      return { input, group, found: entries.find(group, input.key), numBlocks };
    })
  );
  const hits = specs.map((spec, group) =>
    spec.kind === "encoder"
      ? planned.filter((input) => input.group === group).flatMap(({ found }) => found ?? [])
      : hit?.blocks[group]?.filter((id) => id !== NO_BLOCK) ?? []
  );
  const counts = specs.map((spec, group) => {
    if (spec.kind === "encoder") {
      const missing = planned.filter((input) => input.group === group && !input.found);
      return missing.reduce((sum, { numBlocks }) => sum + numBlocks, 0);
    }
    const most = maxLiveBlocks(spec, numTokens, maxInFlightTokens);
    if (spec.kind === "state-space") return most;
    const cached = liveBlocks(spec, hit?.numTokens ?? 0);
    const numNew = Math.ceil(numTokens / spec.tokensPerBlock) - cached.end;
    return Math.max(0, Math.min(numNew, most - numLiveBlocks(cached)));
  });
  return { demand: { counts, hits }, inputs: planned };
}

/** One input per content, read until the last of its placeholders. */
function latestOfEach(inputs: readonly EncoderInput[]): Map<ContentKey, EncoderInput> {
  const byKey = new Map<ContentKey, EncoderInput>();
  for (const input of inputs) {
    const before = byKey.get(input.key)?.placeholderEnd ?? 0;
    const placeholderEnd = Math.max(before, input.placeholderEnd);
    byKey.set(input.key, { ...input, placeholderEnd });
  }
  return byKey;
}

/** Gives each planned input its blocks: those found, or the next of those taken for its group. */
export function placeInputs(
  { inputs }: AdmissionPlan,
  taken: readonly (readonly BlockId[])[],
): InputBlocks[] {
  const numPlaced = taken.map(() => 0);
  return inputs.map(({ input, group, found, numBlocks }) => {
    const start = numPlaced[group]!;
    if (found === undefined) numPlaced[group]! += numBlocks;
    const blocks = found ?? taken[group]!.slice(start, start + numBlocks);
    return { group, key: input.key, placeholderEnd: input.placeholderEnd, blocks };
  });
}

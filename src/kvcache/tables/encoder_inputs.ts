import { ceilDiv } from "../../base/math.ts";
import type { CacheSpec } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { Demand } from "../pool/pool.ts";
import type { ContentKey, EncoderEntry, EntryName } from "../prefix/encoder_entry.ts";

/** An image, a sound or a text that an encoder turns into positions of its own. */
export interface EncoderInput {
  /** Names the content, and whatever else decides what the encoder makes of it. */
  readonly key: ContentKey;
  /** Positions of the encoder's output; the number of placeholders may be another. */
  readonly numTokens: number;
  /** The placeholders that read it lie before this position of the sequence. */
  readonly placeholderEnd: number;
}

/** An input in one group: what is cached of it, or how many blocks it takes. */
export interface PlannedInput {
  readonly input: EncoderInput;
  readonly group: number;
  readonly entry: EncoderEntry | undefined;
  /** Blocks of its output. */
  readonly numBlocks: number;
  /** Whether what is cached of the prompt has passed all that reads it: it is not wanted. */
  readonly isPassed: boolean;
}

/** What an admission does for its inputs, decided before anything changes. */
export interface InputPlan {
  readonly planned: readonly PlannedInput[];
  /** Blocks to take, per group. */
  readonly demand: Demand;
  /** Cached blocks that it will hold. */
  readonly hits: readonly BlockId[];
}

/** What inputs are planned with. */
export interface InputPlanContext {
  readonly groups: readonly CacheSpec[];
  readonly blockSize: number;
  /** Leading positions of the sequence that are cached. */
  readonly numCachedTokens: number;
  readonly scope: string;
  /** What is cached under a name. */
  readonly find: (name: EntryName) => EncoderEntry | undefined;
}

/**
 * Plans the inputs of a sequence in every group of an encoder: what is cached is found whole by its
 * content, the rest gets blocks. Embeddings whose placeholders are cached get none.
 */
export function planInputs(inputs: readonly EncoderInput[], context: InputPlanContext): InputPlan {
  const { groups, blockSize, numCachedTokens, scope, find } = context;
  const planned: PlannedInput[] = [];
  const demand = groups.map(() => 0);
  for (const input of latestOfEach(inputs)) {
    groups.forEach((spec, group) => {
      if (spec.kind !== "encoder") return;
      const numBlocks = ceilDiv(input.numTokens, blockSize);
      const isPassed = spec.lifetime === "placeholders" && input.placeholderEnd <= numCachedTokens;
      const entry = isPassed ? undefined : find({ group, scope, key: input.key });
      planned.push({ input, group, entry, numBlocks, isPassed });
      if (!isPassed && entry === undefined) demand[group]! += numBlocks;
    });
  }
  return { planned, demand, hits: planned.flatMap(({ entry }) => entry?.blocks ?? []) };
}

/** Blocks that the outputs for `inputs` fill, per group. */
export function inputDemand(
  groups: readonly CacheSpec[],
  inputs: readonly EncoderInput[],
  blockSize: number,
): Demand {
  const scope = "";
  const find = () => undefined;
  return planInputs(inputs, { groups, blockSize, numCachedTokens: 0, scope, find }).demand;
}

/**
 * The scope of the KV of a sequence that reads these inputs: what its layers make of its tokens
 * depends on them, and the tokens of placeholders do not tell one input from another. No scope of a
 * request has a zero in it, so that none is taken for this.
 */
export function scopeWithInputs(scope: string, inputs: readonly EncoderInput[]): string {
  if (inputs.length === 0) return scope;
  const read = inputs.map(({ key, placeholderEnd }) => [key, placeholderEnd]);
  return `${scope}\0${JSON.stringify(read)}`;
}

/** One input per content, read until the last of its placeholders. */
function latestOfEach(inputs: readonly EncoderInput[]): Iterable<EncoderInput> {
  const byKey = new Map<ContentKey, EncoderInput>();
  for (const input of inputs) {
    const before = byKey.get(input.key)?.placeholderEnd ?? 0;
    const placeholderEnd = Math.max(before, input.placeholderEnd);
    byKey.set(input.key, { ...input, placeholderEnd });
  }
  return byKey.values();
}

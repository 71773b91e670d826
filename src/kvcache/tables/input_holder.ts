import { invariant } from "../../base/invariant.ts";
import type { CacheSpec } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockSource } from "../pool/pool.ts";
import type { EntryName } from "../prefix/encoder_entry.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import { type EncoderInput, type InputPlan, planInputs } from "./encoder_inputs.ts";
import { type InputCaching, SequenceInputs } from "./sequence_inputs.ts";
import { type CachingOptions, OPEN_SCOPE } from "./sequence_path.ts";

/** What the inputs of sequences are held with. */
export interface InputHolderOptions {
  readonly groups: readonly CacheSpec[];
  readonly blockSize: number;
  readonly cache: PrefixCache | undefined;
  /** Where references are taken: the prefix cache where there is one, else the pool. */
  readonly blockSource: BlockSource;
}

/** Plans the inputs of an admission, given its hit, and whether it may find any of them. */
export type InputPlanner = (numCachedTokens: number, isLookup: boolean) => InputPlan;

/** How sequences come to hold the outputs of encoders that they read: O(blocks held). */
export class InputHolder {
  readonly #options: InputHolderOptions;

  constructor(options: InputHolderOptions) {
    this.#options = options;
  }

  /** What plans these inputs; undefined where there are none. */
  planner(inputs: readonly EncoderInput[], scope: string = OPEN_SCOPE): InputPlanner | undefined {
    if (inputs.length === 0) return undefined;
    const { groups, blockSize, cache } = this.#options;
    const hasEncoder = groups.some(({ kind }) => kind === "encoder");
    invariant(hasEncoder, `${inputs.length} inputs, and no group keeps what encoders make`);
    return (numCachedTokens, isLookup) => {
      const find = (name: EntryName) => isLookup ? cache?.findInput(name) : undefined;
      return planInputs(inputs, { groups, blockSize, scope, numCachedTokens, find });
    };
  }

  /** Holds what a plan has found, so that making room does not cost it. */
  hold(plan: InputPlan | undefined, { retention }: CachingOptions): void {
    const { cache, blockSource } = this.#options;
    for (const { entry } of plan?.planned ?? []) {
      if (entry === undefined) continue;
      blockSource.retain(entry.blocks);
      cache!.entries!.noteHit(entry, retention);
    }
  }

  /** The inputs of a sequence: what is held for its plan, and the blocks taken for the rest. */
  begin(
    plan: InputPlan | undefined,
    taken: readonly (readonly BlockId[])[],
    options: CachingOptions,
    tokenScope: string,
  ): SequenceInputs | undefined {
    return plan && SequenceInputs.begin(plan, taken, this.#caching(options, tokenScope));
  }

  /** The inputs of a fork, held; undefined where its source has none. */
  fork(
    from: SequenceInputs | undefined,
    numShared: number,
    options: CachingOptions,
  ): SequenceInputs | undefined {
    if (from === undefined) return undefined;
    const inputs = from.fork(numShared, this.#caching(options, from.caching.tokenScope));
    for (const { blocks } of inputs.held()) this.#options.blockSource.retain(blocks);
    return inputs;
  }

  #caching({ scope = OPEN_SCOPE, retention }: CachingOptions, tokenScope: string): InputCaching {
    const { groups, cache } = this.#options;
    return { groups, entries: cache?.entries, scope, tokenScope, retention };
  }
}

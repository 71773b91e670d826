import type { CacheSpec } from "../../core/cache_group.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { EncoderEntries } from "../prefix/encoder_entries.ts";
import type { ContentKey, EncoderEntry } from "../prefix/encoder_entry.ts";
import type { InputPlan, PlannedInput } from "./encoder_inputs.ts";

/** An input of one sequence, in one group. */
interface InputBlocks {
  readonly group: number;
  readonly key: ContentKey;
  /** End of the positions that read it; Infinity for keys and values. */
  readonly readUntil: number;
  blocks: readonly BlockId[];
  /** Whether the sequence holds the blocks. */
  isHeld: boolean;
  /** Whether the output is there. */
  isMade: boolean;
  /** What is cached of it, where that was found here, or was made here. */
  entry: EncoderEntry | undefined;
  /** Whether the entry was made here. */
  isOwn: boolean;
}

/** Blocks of one group that a sequence holds. */
export interface HeldBlocks {
  readonly group: number;
  readonly blocks: readonly BlockId[];
}

/** How the outputs of one sequence's inputs are cached. */
export interface InputCaching {
  readonly groups: readonly CacheSpec[];
  /** Absent without a prefix cache. */
  readonly entries: EncoderEntries | undefined;
  readonly scope: string;
  /** The scope of the tokens, which says what the inputs are. */
  readonly tokenScope: string;
  readonly retention: CacheRetention | undefined;
}

/**
 * The blocks of one sequence that hold the outputs of an encoder for its inputs.
 *
 *     tokens       a  photo  of  [image  image  image]  and ...
 *     embeddings                  [ 9 ][ 4 ]          |           given back here
 *     keys, values                [ 7 ][ 2 ][ 5 ]                 given back with the sequence
 *
 * They are named by content, so they are in no table. The sequence holds one reference to each
 * block of an input, or none. Operations cost O(inputs), and O(blocks) where blocks move.
 */
export class SequenceInputs {
  readonly caching: InputCaching;
  readonly #inputs: readonly InputBlocks[];

  private constructor(caching: InputCaching, inputs: readonly InputBlocks[]) {
    this.caching = caching;
    this.#inputs = inputs;
  }

  /**
   * Begins with what a plan has found, which the caller holds, and for the rest with the blocks
   * that were taken for it, per group.
   */
  static begin(
    { planned }: InputPlan,
    taken: readonly (readonly BlockId[])[],
    caching: InputCaching,
  ): SequenceInputs {
    const numPlaced = taken.map(() => 0);
    const inputs = planned.map((plan): InputBlocks => {
      const { group, entry, numBlocks, isPassed, input } = plan;
      const start = numPlaced[group]!;
      const isNew = !isPassed && entry === undefined;
      if (isNew) numPlaced[group] = start + numBlocks;
      const own = isNew ? taken[group]!.slice(start, start + numBlocks) : [];
      return {
        group,
        key: input.key,
        readUntil: readUntil(plan, caching.groups),
        blocks: entry?.blocks ?? own,
        isHeld: !isPassed,
        isMade: !isNew || numBlocks === 0,
        entry,
        isOwn: false,
      };
    });
    return new SequenceInputs(caching, inputs);
  }

  /** Contents whose output has to be computed, each once. */
  get missing(): readonly ContentKey[] {
    return [...new Set(this.#inputs.filter(({ isMade }) => !isMade).map(({ key }) => key))];
  }

  /** Each input's blocks that it holds, and their group. */
  held(): readonly HeldBlocks[] {
    return this.#inputs.filter(({ isHeld }) => isHeld);
  }

  /** The blocks of an input in one group; undefined where it has none or has given them back. */
  blocksOf(group: number, key: ContentKey): readonly BlockId[] | undefined {
    return this.#inputs.find((input) => input.group === group && input.key === key && input.isHeld)
      ?.blocks;
  }

  /** Notes that an output is in its blocks: others find it, unless another is there already. */
  publish(key: ContentKey): void {
    const { entries, scope, retention } = this.caching;
    for (const input of this.#inputs) {
      if (input.key !== key || input.isMade) continue;
      input.isMade = true;
      input.entry = entries?.add({ group: input.group, scope, key }, input.blocks, retention);
      input.isOwn = input.entry !== undefined;
    }
  }

  /** Takes out what no position behind the first `numComputed` reads. */
  takePassed(numComputed: number): readonly BlockId[] {
    const passed: BlockId[] = [];
    for (const input of this.#inputs) {
      if (!input.isHeld || input.blocks.length === 0 || input.readUntil > numComputed) continue;
      input.isHeld = false;
      for (const id of input.blocks) passed.push(id);
    }
    return passed;
  }

  /** Whether all is there that a fork reads which shares the first `numShared` positions. */
  canFork(numShared: number): boolean {
    return this.#inputs.every(({ isMade, isHeld, readUntil }) =>
      isMade && (isHeld || readUntil <= numShared)
    );
  }

  /** The inputs of such a fork, whose blocks are the same; the caller holds them once more. */
  fork(numShared: number, caching: InputCaching): SequenceInputs {
    const inputs = this.#inputs.map((input) => ({
      ...input,
      isHeld: input.isHeld && (input.readUntil > numShared || input.blocks.length === 0),
      isOwn: false,
    }));
    return new SequenceInputs(caching, inputs);
  }

  /**
   * Makes unfindable what was made here, and what was found here and is read behind the first
   * `numSound` positions.
   */
  forget(numSound: number): void {
    const { entries } = this.caching;
    for (const { entry, isOwn, readUntil } of this.#inputs) {
      if (entry === undefined || !(isOwn || readUntil > numSound)) continue;
      if (entries!.has(entry)) entries!.drop(entry, true);
    }
  }

  /** Follows its blocks to their new ids. */
  remap(remap: BlockRemap): void {
    for (const input of this.#inputs) {
      if (input.isHeld) input.blocks = remap.idsOf(input.blocks);
    }
  }
}

/** Keys and values are read as long as the sequence goes on. */
function readUntil({ group, input }: PlannedInput, groups: readonly CacheSpec[]): number {
  const spec = groups[group]!;
  const isPassing = spec.kind === "encoder" && spec.lifetime === "placeholders";
  return isPassing ? input.placeholderEnd : Infinity;
}

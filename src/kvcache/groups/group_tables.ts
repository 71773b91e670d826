import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { ContentKey } from "./block_index.ts";
import { type GroupSpec, liveBlocks } from "./group_spec.ts";
import { NO_BLOCK } from "./hybrid_hit.ts";

/** An encoder input of a sequence, and the blocks that hold its output in one group. */
export interface InputBlocks {
  readonly group: number;
  readonly key: ContentKey;
  /** The placeholders that read the output lie before this position. */
  readonly placeholderEnd: number;
  readonly blocks: readonly BlockId[];
}

/** A block of a group. */
export interface GroupBlock {
  readonly group: number;
  readonly id: BlockId;
}

/**
 * The blocks of one admitted sequence in every group, and how far it is computed.
 *
 *     position           0        16        32        48        64
 *     full attention     [   9    ][   4    ][   7    ][   8    ]
 *     window of 20       [   -    ][   -    ][   3    ][   1    ]     64 settled: [0, 45) is dead
 *     state space                                      [   2    ]     its one state
 *
 * A table grows at its end; an entry changes once at most, to {@link NO_BLOCK}, when no step in
 * flight reads it any more. A state space group's table is the one block its state is computed in.
 */
export class GroupTables {
  readonly tables: readonly BlockId[][];
  inputs: readonly InputBlocks[];
  /** Per group, how many leading blocks others may hit or need not. */
  readonly numPublished: number[];
  /** Positions whose step has been handed to the device. */
  numComputedTokens: number;
  /** Those among them whose step has not come back. */
  numInFlightTokens = 0;
  /** Whether the sequence has ended and waits for its last step in flight. */
  isEnding = false;
  readonly #specs: readonly GroupSpec[];
  /** Per group, the first entry that may not be dead yet, sinks aside. */
  readonly #firstLive: number[];

  /** Takes over the references to `tables` and `inputs`, for a sequence that begins after a hit. */
  constructor(
    specs: readonly GroupSpec[],
    tables: readonly BlockId[][],
    inputs: readonly InputBlocks[],
    numCachedTokens: number,
  ) {
    this.tables = tables;
    this.inputs = inputs;
    this.numComputedTokens = numCachedTokens;
    this.numPublished = specs.map((spec) => Math.floor(numCachedTokens / spec.tokensPerBlock));
    this.#specs = specs;
    this.#firstLive = specs.map((spec) => liveBlocks(spec, numCachedTokens).start);
  }

  /** Positions that no step in flight computes or reads from: the basis on which blocks die. */
  get numSettledTokens(): number {
    return this.numComputedTokens - this.numInFlightTokens;
  }

  /** Whether every table has a place for the first `numTokens` positions. */
  covers(numTokens: number): boolean {
    return this.tables.every((table, group) => {
      const spec = this.#specs[group]!;
      if (spec.kind === "encoder" || spec.kind === "state-space") return true;
      return table.length * spec.tokensPerBlock >= numTokens;
    });
  }

  /** Takes the blocks out that are dead on the settled basis, deepest first. O(blocks taken). */
  takeDead(): GroupBlock[] {
    const dead = this.#specs.map((spec, group) => {
      if (spec.kind === "encoder" || spec.kind === "state-space") return [];
      const { numSinkBlocks, start } = liveBlocks(spec, this.numSettledTokens);
      const first = Math.max(this.#firstLive[group]!, numSinkBlocks);
      this.#firstLive[group] = Math.max(first, start);
      return this.#take(group, first, start);
    });
    const isOver = (input: InputBlocks) => {
      const spec = this.#specs[input.group]!;
      const endsEarly = spec.kind === "encoder" && spec.lifetime === "placeholders";
      return endsEarly && this.numSettledTokens >= input.placeholderEnd;
    };
    const over = this.inputs.filter(isOver);
    if (over.length > 0) this.inputs = this.inputs.filter((input) => !isOver(input));
    return deepestFirst([...dead.flat(), ...over.flatMap(inputBlocks)]);
  }

  /** Every block of the sequence, deepest first. */
  all(): GroupBlock[] {
    const held = this.tables.flatMap((table, group) =>
      table.flatMap((id, index) => id === NO_BLOCK ? [] : [this.#placed(group, id, index)])
    );
    return deepestFirst([...held, ...this.inputs.flatMap(inputBlocks)]);
  }

  #take(group: number, start: number, end: number): Placed[] {
    const table = this.tables[group]!;
    const taken: Placed[] = [];
    for (let index = start; index < end; index++) {
      const id = table[index];
      invariant(id !== undefined && id !== NO_BLOCK, `entry ${index} of group ${group} dies twice`);
      taken.push(this.#placed(group, id, index));
      table[index] = NO_BLOCK;
    }
    return taken;
  }

  #placed(group: number, id: BlockId, index: number): Placed {
    return { group, id, end: (index + 1) * this.#specs[group]!.tokensPerBlock };
  }
}

/** A block and the position at which its content ends. */
interface Placed extends GroupBlock {
  readonly end: number;
}

function inputBlocks({ group, placeholderEnd, blocks }: InputBlocks): Placed[] {
  return blocks.map((id) => ({ group, id, end: placeholderEnd }));
}

/** So that what a shorter prefix needs too is evicted last, in whichever group it lies. */
function deepestFirst(blocks: Placed[]): GroupBlock[] {
  return blocks.sort((a, b) => b.end - a.end);
}

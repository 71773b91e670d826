import type { BlockCopy, TokenOutput } from "../core/batch.ts";
import type { ErrorData } from "../core/errors.ts";
import type { BlockId, RequestId, SequenceId } from "../core/ids.ts";
import type { FinishReason } from "../core/token_event.ts";
import type { AdmissionOptions } from "../kvcache/admission.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { addDemands, type Demand } from "../kvcache/pool/pool.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";
import type { Report } from "./event_buffer.ts";
import type { Answer, Sequence, SequenceState } from "./sequence.ts";

/** The step that is being planned, as a group sees it. */
export interface StepPlan {
  /**
   * How many of the next tokens of `sequence` the rest of the budget allows; 0 when it is spent.
   */
  countFor(sequence: Sequence): number;
  /** Adds the next `count` tokens of a member of `group`; `blockTables` cover them. */
  add(
    group: SequenceGroup,
    sequence: Sequence,
    count: number,
    blockTables: readonly (readonly BlockId[])[],
  ): void;
  /** Adds a copy that a sequence of this plan needs before it is computed. */
  addCopy(copy: BlockCopy): void;
}

/** The receiver of reports as the results of a step come in. */
export interface OutputSink {
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /** An answer has got one more token, which is not its last. */
  report(group: SequenceGroup, answer: Answer, report: Report): void;
  /** The group ends; each of its answers reports this last. */
  end(group: SequenceGroup, report: Report & { readonly finishReason: FinishReason }): void;
  /** The group ends, and its answers have reported everything. */
  endReported(group: SequenceGroup): void;
  /** A member waits for its first block table. */
  reportQueued(member: Sequence): void;
  /** A member is no more, and its block table is to be freed. */
  drop(member: Sequence): void;
}

/**
 * The unit that is queued, admitted, planned, preempted and ended as a whole: one sequence that
 * draws its tokens, or the beams of one search.
 *
 * Its `numTokens`, `allTokens` and `numComputedTokens` are those that other groups may share: of a
 * sequence all it has, of a search the prompt.
 */
export interface SequenceGroup {
  /** Id of its first member; also the order of arrival: a later group has a higher one. */
  readonly id: SequenceId;
  readonly requestId: RequestId;
  /** The first of its request's sequences that it answers, from 0. */
  readonly index: number;
  /** Index of the request's first sequence with the same prompt. */
  readonly promptIndex: number;
  /** Its owner; requests without one share the owner `undefined`. */
  readonly owner: string | undefined;
  /** Its owner's priority: a higher one goes first. */
  readonly ownerPriority: number;
  /** Its request's own priority, among equals by their owners': a higher one goes first. */
  readonly requestPriority: number;
  /** When it ends with an error, on the scheduler's clock; absent: never. */
  readonly deadlineMs: number | undefined;
  /** How long that is after its arrival. */
  readonly timeoutMs: number | undefined;
  /** As of its members. */
  readonly caching: CachingOptions;
  /** Whether its look-ups are the server's own. */
  readonly isReheat: boolean;
  readonly numPromptTokens: number;
  readonly numOutputTokens: number;
  readonly numTokens: number;
  readonly allTokens: Uint32Array;
  readonly numComputedTokens: number;
  /** Which queue it stands in. */
  state: SequenceState;
  /** How often it has lost its blocks. */
  numPreemptions: number;
  /** Tokens that its leader had drawn when it was last admitted. */
  numOutputTokensAtAdmission: number;
  /** Its sequences, each with a block table while its own state is "running"; the first leads. */
  readonly members: readonly Sequence[];
  /** The answers that its end decides. */
  readonly answers: readonly Answer[];
  /**
   * Most leading positions that it may find computed, where its prompt is read; absent: no limit.
   */
  readonly maxCachedTokens?: number | undefined;
  /** Most members at any time, each with a token in a step. */
  readonly numSeats: number;
  /**
   * Whether its next steps compute more tokens than it has seats, so none is admitted behind it.
   */
  readonly isCatchingUp: boolean;
  /**
   * Whether its next draws follow from nothing but the tokens before them, so that a device can
   * make several on its own.
   */
  readonly drawsFreely: boolean;

  /**
   * Blocks that it takes soon after its admission, beside those of its first member; undefined
   * where it takes none.
   */
  reservedDemand(blocks: BlockManager): Demand | undefined;
  /** Its first member has a table whose first `numComputedTokens` positions are computed. */
  start(numComputedTokens: number): void;
  /** Additional blocks that its next step needs if the budget allows all of it. */
  blockDemand(blocks: BlockManager): Demand;
  /**
   * Makes its tables cover the tokens that the rest of the plan's budget allows; the plan gets the
   * copies that it needs.
   *
   * @returns false when there are too few blocks. Nothing has changed.
   */
  tryExtend(plan: StepPlan, blocks: BlockManager): boolean;
  /** Adds its next tokens, which its tables cover, to the plan. */
  addTo(plan: StepPlan, blocks: BlockManager): void;
  /**
   * Out-of-blocks error of the only group: of one that runs with its `plan`, else of one that
   * waits.
   */
  outOfBlocks(blocks: BlockManager, plan?: StepPlan): ErrorData;
  /** Its blocks have been taken back; it waits, and recomputes its uncached tokens later. */
  preempt(): void;
  /** While it waits: its KV is looked for, and becomes findable, as `caching` says from now on. */
  cacheAs(caching: CachingOptions): void;
  /** Takes a token that was drawn for a member that runs. */
  update(member: Sequence, drawn: TokenOutput, sink: OutputSink): void;
  /** All results of a step that had chunks of it are taken. */
  endStep(sink: OutputSink): void;
}

/** The members of a group that have a block table. */
export function holdersOf({ members }: SequenceGroup): readonly Sequence[] {
  return members.filter(({ state }) => state === "running");
}

/** Blocks that all these groups need for the next step together. */
export function totalDemand(groups: readonly SequenceGroup[], blocks: BlockManager): Demand {
  const none: Demand = blocks.cacheGroups.map(() => 0);
  return groups.reduce((sum, group) => addDemands(sum, group.blockDemand(blocks)), none);
}

/** How a group's first member is admitted, which leaves `numHeadroomSlabs` blocks over. */
export function admissionOptions(
  group: SequenceGroup,
  blocks: BlockManager,
  numHeadroomSlabs: number,
): AdmissionOptions {
  const reserved = group.reservedDemand(blocks);
  const { caching, maxCachedTokens } = group;
  const isSwapped = blocks.swap?.find(group.id) !== undefined;
  const isPlain = reserved === undefined && maxCachedTokens === undefined && !isSwapped;
  if (isPlain && numHeadroomSlabs === 0) return caching;
  return {
    ...caching,
    ...(isSwapped ? { swappedId: group.id } : {}),
    ...(reserved === undefined ? {} : { reserved }),
    ...(maxCachedTokens === undefined ? {} : { maxCachedTokens }),
    ...(numHeadroomSlabs === 0 ? {} : { numHeadroomSlabs }),
  };
}

/**
 * Blocks that a group would lack if it were admitted now and left `numHeadroomSlabs` over; 0 if it
 * fits. O(blocks of its tokens).
 */
export function numMissingToAdmit(
  group: SequenceGroup,
  blocks: BlockManager,
  numHeadroomSlabs: number,
): number {
  const { allTokens } = group.members[0]!;
  return blocks.numMissingToAdmit(allTokens, admissionOptions(group, blocks, numHeadroomSlabs));
}

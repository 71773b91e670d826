import { invariant } from "../base/invariant.ts";
import type { BlockCopy, SampledToken, TokenLogprob } from "../core/batch.ts";
import { type BeamSearchParams, numCandidates } from "../core/beam_search_params.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { TokenId } from "../core/ids.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { BatchPlan } from "./batch_plan.ts";
import { BeamSearch, type Hypothesis } from "./beam_search.ts";
import { type Answer, Sequence, type SequenceIdentity } from "./sequence.ts";

/** What a group is made for. */
export interface BeamGroupOptions {
  readonly beamSearch: BeamSearchParams;
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
}

/**
 * One beam: a sequence of its group with an id and a block table of its own. Its `state` says whether
 * it has that table ("running") or is still to branch off another beam ("waiting").
 */
export class Beam extends Sequence {
  /** The search it belongs to. */
  readonly group: BeamGroup;

  /** A beam in `slot` of `[0, width)` whose answer so far is `outputs`. */
  constructor(group: BeamGroup, slot: number, outputs: Iterable<TokenId>) {
    const { id, requestId, index, caching, prompt, beamParams: params } = group;
    super({ id: id + slot, requestId, index: index + slot, caching }, { prompt, params });
    this.group = group;
    for (const token of outputs) this.append(token);
  }

  /** Whether all but the newest token is computed. */
  get isReady(): boolean {
    return this.state === "running" && this.numUncomputedTokens === 1;
  }
}

/** A beam that can branch off another now: the source has computed all that the two have in common. */
interface Branch {
  readonly beam: Beam;
  readonly source: Beam;
  readonly numShared: number;
}

/**
 * The beams of one search as the scheduler sees them: one entry of its queues, whose own tokens are the
 * prompt, and which is admitted, planned, preempted and ended as a whole.
 *
 *     step        tables                          commit: the two best continuations are b's
 *     n     a  [ 0 | 1 | 2 ]                      a is dropped, its last block is free
 *           b  [ 0 | 1 | 3 ]                      b goes on with the better one
 *     n + 1 b  [ 0 | 1 | 3 ]                      c branches off b: whole blocks are shared,
 *           c  [ 0 | 1 | 4 ]                      block 3, which b fills on, is copied to 4
 *
 * Beams differ in tokens, so two share exactly the whole blocks of the tokens that they have in
 * common. After a preemption they come back to the same tables: the likeliest is computed first, then
 * one after the other branches off the computed one that it has most in common with. All advance
 * together, once every one has all but its newest token computed.
 */
export class BeamGroup extends Sequence {
  readonly prompt: Uint32Array;
  /** As the request's, but that candidates are reported instead of drawing. */
  readonly beamParams: SequenceRequest["params"];
  readonly #width: number;
  readonly #answers: readonly Answer[];
  readonly #search: BeamSearch;
  /** Likeliest first; at least one, at most `width`. */
  #beams: readonly Beam[];
  /** Candidates of the step that is being committed. */
  readonly #candidates = new Map<Beam, readonly TokenLogprob[]>();

  /**
   * @param identity of its first beam and first answer; the ids and indices up to `width` further are
   * the group's as well.
   */
  constructor(
    identity: SequenceIdentity,
    request: SequenceRequest,
    { beamSearch, maxModelLen }: BeamGroupOptions,
  ) {
    super(identity, request);
    const { prompt, params } = request;
    const { requestId, index, numCachedTokens } = this;
    this.prompt = prompt;
    const numLogprobs = Math.max(numCandidates(beamSearch), params.numLogprobs ?? 0);
    this.beamParams = { ...params, temperature: 0, numLogprobs };
    this.#width = beamSearch.width;
    this.#answers = Array.from(
      { length: beamSearch.width },
      (_, i) => ({ requestId, index: index + i, numCachedTokens, hasReported: false }),
    );
    this.#search = new BeamSearch({
      ...beamSearch,
      stopTokenIds: params.stopTokenIds,
      maxNumTokens: Math.min(params.maxTokens, maxModelLen - prompt.length),
    });
    this.#beams = [new Beam(this, 0, [])];
  }

  override get numSeats(): number {
    return this.#width;
  }

  override get members(): readonly Beam[] {
    return this.#beams;
  }

  override get answers(): readonly Answer[] {
    return this.#answers;
  }

  /** Whether some beams wait until others are computed again. */
  get isCatchingUp(): boolean {
    return this.#beams.length > 1 && !this.#beams.every(({ isReady }) => isReady);
  }

  /** Whether the answers are found. */
  get isDone(): boolean {
    return this.#search.isDone;
  }

  /** The answers, best first. */
  get hypotheses(): readonly Hypothesis[] {
    return this.#search.hypotheses;
  }

  /** The first to get a block table: the likeliest beam. */
  get leader(): Beam {
    return this.#beams[0]!;
  }

  /**
   * Blocks that the group takes beside those of its leader when it is admitted: what the other beams do
   * not share, or what the first branching takes.
   */
  numBlocksBesideLeader(blocks: BlockManager): number {
    if (this.#beams.length === 1) return this.#search.canBranch ? this.#width - 1 : 0;
    const numOwn = this.#beams.slice(1).map((beam, i) => {
      const common = this.#beams.slice(0, i + 1).map((other) => numCommonTokens(beam, other));
      return blocks.numBlocksFor(beam.numTokens) -
        Math.floor(Math.max(...common) / blocks.blockSize);
    });
    return numOwn.reduce((sum, count) => sum + count, 0);
  }

  /** The leader has a table whose first `numComputedTokens` are computed. */
  startLeader(numComputedTokens: number): void {
    this.leader.state = "running";
    this.leader.numComputedTokens = numComputedTokens;
  }

  /**
   * Makes all tables cover what is known of their beams, and branches those off that can be: all or
   * nothing.
   *
   * @param plan gets the copies that the branches need.
   * @returns false when there are too few blocks. Nothing has changed.
   */
  tryGrow(plan: BatchPlan, blocks: BlockManager): boolean {
    const branches = this.#branches();
    if (!blocks.canGrow(this.numBlocksToGrow(blocks, branches))) return false;
    for (const { id, numTokens } of this.#holders) blocks.tryExtend(id, numTokens);
    for (const branch of branches) {
      const copy = startBranch(branch, blocks);
      if (copy !== undefined) plan.addCopy(copy);
    }
    return true;
  }

  /** Blocks that the tables of its beams lack, those of beams to be branched off included. */
  numBlocksToGrow(blocks: BlockManager, branches: readonly Branch[] = this.#branches()): number {
    const numMissing = this.#holders.map(({ id, numTokens }) =>
      blocks.numBlocksFor(numTokens) - blocks.blockTable(id).length
    );
    const numOfBranches = branches.map(({ beam, numShared }) =>
      blocks.numBlocksFor(beam.numTokens) - Math.floor(numShared / blocks.blockSize)
    );
    return [...numMissing, ...numOfBranches].reduce((sum, count) => sum + count, 0);
  }

  /** Plans the next token of every beam, or what is to be computed again before that. */
  addTo(plan: BatchPlan, blocks: BlockManager): void {
    const { isCatchingUp } = this;
    for (const beam of this.#beams) {
      const isIdle = beam.state === "waiting" || (isCatchingUp && beam.isReady);
      if (isIdle) continue;
      // The newest token draws candidates, which all beams do in the same step.
      const limit = beam.numUncomputedTokens - (isCatchingUp ? 1 : 0);
      const count = Math.min(limit, plan.countFor(beam));
      if (count > 0) plan.add(beam, count, blocks.blockTable(beam.id));
    }
  }

  /** Takes what a beam's newest token has drawn. */
  take(beam: Beam, { topLogprobs }: SampledToken): void {
    invariant(topLogprobs !== undefined, `beam ${beam.id} has no candidates`);
    this.#candidates.set(beam, topLogprobs);
  }

  /**
   * Replaces the beams by the best of their continuations once every one has its candidates; until then,
   * and when the search is done, nothing happens to them.
   *
   * @returns the beams that are no more, whose tables are to be freed, and the new ones, which have none.
   */
  advance(): { readonly dropped: readonly Beam[]; readonly added: readonly Beam[] } {
    this.numComputedTokens = Math.min(this.leader.numComputedTokens, this.numPromptTokens - 1);
    if (this.#candidates.size < this.#beams.length) return { dropped: [], added: [] };
    const parents = this.#beams;
    const next = this.#search.advance(parents.map((beam) => this.#candidates.get(beam)!));
    this.#candidates.clear();
    if (this.isDone) return { dropped: [], added: [] };
    const kept = new Set(next.map(({ parent }) => parents[parent]!));
    const dropped = parents.filter((beam) => !kept.has(beam));
    const slots = this.#freeSlots(kept);
    const added: Beam[] = [];
    const goesOn = new Set<Beam>();
    const appends: (() => void)[] = [];
    this.#beams = next.map(({ parent: rank, token }) => {
      const parent = parents[rank]!;
      const isFirst = !goesOn.has(parent);
      goesOn.add(parent);
      const beam = isFirst ? parent : new Beam(this, slots.shift()!, parent.outputs);
      if (!isFirst) added.push(beam);
      appends.push(() => beam.append(token));
      return beam;
    });
    // Only now, since branches begin with what their parents were.
    for (const append of appends) append();
    return { dropped, added };
  }

  /** The blocks of all beams are gone. */
  giveBlocksBack(): void {
    this.numComputedTokens = 0;
    for (const beam of this.#beams) {
      beam.state = "waiting";
      beam.numComputedTokens = 0;
    }
  }

  /** Beams with a table. */
  get #holders(): readonly Beam[] {
    return this.#beams.filter(({ state }) => state === "running");
  }

  #freeSlots(kept: ReadonlySet<Beam>): number[] {
    const taken = new Set([...kept].map(({ id }) => id - this.id));
    return Array.from(Array(this.#width).keys()).filter((slot) => !taken.has(slot));
  }

  /** Beams without a table whose best source is computed; another's time comes when its source is. */
  #branches(): Branch[] {
    return this.#beams.flatMap((beam, i) => {
      if (beam.state === "running") return [];
      const sources = this.#beams.filter((other, j) => j < i || other.state === "running");
      let best: Branch | undefined;
      for (const source of sources) {
        const numShared = numCommonTokens(beam, source);
        const isLonger = best === undefined || numShared > best.numShared;
        if (isLonger || (numShared === best?.numShared && source.isReady)) {
          best = { beam, source, numShared };
        }
      }
      return best?.source.isReady ? [best] : [];
    });
  }
}

/** Gives a beam its table, and returns the copy that it needs, if any. */
function startBranch(
  { beam, source, numShared }: Branch,
  blocks: BlockManager,
): BlockCopy | undefined {
  const { id, numTokens, caching } = beam;
  const fork = { source: source.id, numTokens, numShared, isGrowth: true };
  const admission = blocks.tryFork(id, fork, caching);
  invariant(admission !== undefined, `beam ${id} finds no block, and there were enough`);
  beam.state = "running";
  beam.numComputedTokens = numShared;
  return admission.copy;
}

/** Length of the common prefix of two beams of a group; they share the prompt and differ at the end. */
function numCommonTokens(a: Beam, b: Beam): number {
  const limit = Math.min(a.numTokens, b.numTokens) - 1;
  const [ofA, ofB] = [a.allTokens, b.allTokens];
  let i = a.numPromptTokens;
  while (i < limit && ofA[i] === ofB[i]) i++;
  return i;
}

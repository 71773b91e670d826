import { invariant } from "../base/invariant.ts";
import type { TokenLogprob, TokenOutput } from "../core/batch.ts";
import { type BeamSearchParams, numCandidates } from "../core/beam_search_params.ts";
import type { ErrorData } from "../core/errors.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { RequestId, SequenceId, TokenId } from "../core/ids.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { addDemands, type Demand } from "../kvcache/pool/pool.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";
import { Beam, type BeamFork, forkBeam, numCommonTokens } from "./beam.ts";
import { answerReports } from "./beam_answers.ts";
import { BeamSearch, type Continuation } from "./beam_search.ts";
import { poolExceededByBeams } from "./pool_errors.ts";
import type { Answer, Sequence, SequenceIdentity, SequenceState } from "./sequence.ts";
import type { OutputSink, SequenceGroup, StepPlan } from "./sequence_group.ts";

/** The search that a group is made for. */
export interface BeamGroupOptions {
  readonly beamSearch: BeamSearchParams;
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
}

/**
 * The beams of one search: a group whose own tokens are the prompt.
 *
 *     step        tables                          commit: the two best continuations are b's
 *     n     a  [ 0 | 1 | 2 ]                      a is dropped, its last block is free
 *           b  [ 0 | 1 | 3 ]                      b goes on with the better one
 *     n + 1 b  [ 0 | 1 | 3 ]                      c forks b: whole blocks are shared,
 *           c  [ 0 | 1 | 4 ]                      block 3, which b fills on, is copied to 4
 *
 * Beams differ in tokens, so two share exactly the whole blocks of the tokens that they have in
 * common. After a preemption they come back to the same tables: the likeliest is computed first,
 * then one after the other forks the computed one that it has most in common with. All advance
 * together, once every one has all but its newest token computed.
 */
export class BeamGroup implements SequenceGroup {
  readonly id: SequenceId;
  readonly requestId: RequestId;
  readonly index: number;
  readonly promptIndex: number;
  readonly owner: string | undefined;
  readonly ownerPriority: number;
  readonly requestPriority: number;
  readonly deadlineMs: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly isReheat: boolean;
  readonly numPromptTokens: number;
  readonly numOutputTokens = 0;
  readonly allTokens: Uint32Array;
  readonly answers: readonly Answer[];
  state: SequenceState = "waiting";
  numComputedTokens = 0;
  numPreemptions = 0;
  numOutputTokensAtAdmission = 0;
  #identity: SequenceIdentity;
  /** As it was made, but that candidates are reported instead of drawing. */
  readonly #request: SequenceRequest;
  readonly #numLogprobs: number | undefined;
  readonly #width: number;
  readonly #search: BeamSearch;
  /** Likeliest first; at least one, at most `width`. */
  #beams: readonly Beam[];
  /** Candidates of the step that is being committed. */
  readonly #candidates = new Map<Sequence, readonly TokenLogprob[]>();

  /**
   * @param identity of its first beam and first answer; the ids and indices up to `width` further
   * are the group's as well.
   */
  constructor(
    identity: SequenceIdentity,
    request: SequenceRequest,
    { beamSearch, maxModelLen }: BeamGroupOptions,
  ) {
    const { prompt, params } = request;
    const { id, requestId, index, owner, isReheat = false } = identity;
    this.#identity = identity;
    this.id = id;
    this.requestId = requestId;
    this.index = this.promptIndex = index;
    this.owner = owner;
    this.ownerPriority = identity.ownerPriority ?? 0;
    this.requestPriority = identity.requestPriority ?? 0;
    this.deadlineMs = identity.deadlineMs;
    this.timeoutMs = identity.timeoutMs;
    this.isReheat = isReheat;
    this.allTokens = prompt;
    this.numPromptTokens = prompt.length;
    this.#numLogprobs = params.numLogprobs;
    const numLogprobs = Math.max(numCandidates(beamSearch), params.numLogprobs ?? 0);
    this.#request = { prompt, params: { ...params, temperature: 0, numLogprobs } };
    this.#width = beamSearch.width;
    this.answers = Array.from(
      { length: beamSearch.width },
      (_, i) => ({ requestId, index: index + i, numCachedTokens: 0, hasReported: false }),
    );
    this.#search = new BeamSearch({
      ...beamSearch,
      stopTokenIds: params.stopTokenIds,
      maxNumTokens: Math.min(params.maxTokens, maxModelLen - prompt.length),
    });
    this.#beams = [this.#makeBeam(0, [])];
  }

  get numTokens(): number {
    return this.numPromptTokens;
  }

  get caching(): CachingOptions {
    return this.#identity.caching ?? {};
  }

  get numSeats(): number {
    return this.#width;
  }

  get members(): readonly Beam[] {
    return this.#beams;
  }

  /** Whether some beams wait until others are computed again. */
  get isCatchingUp(): boolean {
    return this.#beams.length > 1 && !this.#beams.every(({ isReady }) => isReady);
  }

  /** Beams are chosen between two steps. */
  get drawsFreely(): boolean {
    return false;
  }

  /** The first to get a block table: the likeliest beam. */
  get #leader(): Beam {
    return this.#beams[0]!;
  }

  /** Blocks of the other beams that the leader does not share, or those of the first forks. */
  reservedDemand(blocks: BlockManager): Demand {
    if (this.#beams.length === 1) {
      const numForks = this.#search.canFork ? this.#width - 1 : 0;
      return blocks.cacheGroups.map(() => numForks);
    }
    const demands = this.#beams.slice(1).map((beam, i) => {
      const common = this.#beams.slice(0, i + 1).map((other) => numCommonTokens(beam, other));
      return blocks.forkDemand(beam.numTokens, Math.max(...common));
    });
    return demands.reduce(addDemands);
  }

  start(numComputedTokens: number): void {
    this.#leader.state = "running";
    this.#leader.numComputedTokens = numComputedTokens;
  }

  /** Makes all tables cover their beams' tokens, and gives each beam its own that can fork now. */
  tryExtend(plan: StepPlan, blocks: BlockManager): boolean {
    const forks = this.#forks(blocks);
    if (!blocks.canExtend(this.blockDemand(blocks, forks))) return false;
    for (const { id, numTokens } of this.#holders) blocks.tryExtend(id, numTokens);
    for (const fork of forks) {
      for (const copy of forkBeam(fork, blocks)) plan.addCopy(copy);
    }
    return true;
  }

  /** Blocks that the tables of its beams lack, those of forks to be made included. */
  blockDemand(blocks: BlockManager, forks: readonly BeamFork[] = this.#forks(blocks)): Demand {
    const extended = this.#holders.map(({ id, numTokens }) =>
      blocks.extensionDemand(id, numTokens)
    );
    const forking = forks.map(({ beam, numShared }) =>
      blocks.forkDemand(beam.numTokens, numShared)
    );
    const none: Demand = blocks.cacheGroups.map(() => 0);
    return [...extended, ...forking].reduce(addDemands, none);
  }

  /** Plans the next token of every beam, or its recomputation, which comes first. */
  addTo(plan: StepPlan, blocks: BlockManager): void {
    const { isCatchingUp } = this;
    for (const beam of this.#beams) {
      const isIdle = beam.state === "waiting" || (isCatchingUp && beam.isReady);
      if (isIdle) continue;
      // The newest token draws candidates, which all beams do in the same step.
      const limit = beam.numUncomputedTokens - (isCatchingUp ? 1 : 0);
      const count = Math.min(limit, plan.countFor(beam));
      if (count > 0) plan.add(this, beam, count, blocks.blockTables(beam.id));
    }
  }

  outOfBlocks(blocks: BlockManager): ErrorData {
    const { numTokens } = this.#leader;
    const numNeeded = blocks.numSlabsOf(numTokens) +
      blocks.numSlabsFor(this.reservedDemand(blocks));
    const beams = { numBeams: this.#beams.length, numTokens, numNeeded };
    return poolExceededByBeams(beams, blocks, blocks.pins);
  }

  update(beam: Sequence, { topLogprobs }: TokenOutput): void {
    invariant(
      topLogprobs !== undefined,
      `beam ${beam.id} of ${this.#beams.length} has no candidates`,
    );
    this.#candidates.set(beam, topLogprobs);
  }

  /** Goes on once every beam has its candidates; until then nothing happens to them. */
  endStep(sink: OutputSink): void {
    this.numComputedTokens = Math.min(this.#leader.numComputedTokens, this.numPromptTokens - 1);
    if (this.#candidates.size < this.#beams.length) return;
    const parents = this.#beams;
    const next = this.#search.advance(parents.map((beam) => this.#candidates.get(beam)!));
    this.#candidates.clear();
    if (!this.#search.isDone) return this.#replaceBeams(next, sink);
    answerReports(this.#search.hypotheses, this.#numLogprobs).forEach((reports, rank) => {
      for (const report of reports) sink.report(this, this.answers[rank]!, report);
    });
    sink.endReported(this);
  }

  /** Replaces the beams by the best of their continuations. */
  #replaceBeams(next: readonly Continuation[], sink: OutputSink): void {
    const parents = this.#beams;
    const kept = new Set(next.map(({ parent }) => parents[parent]!));
    const dropped = parents.filter((beam) => !kept.has(beam));
    const freeIndices = this.#freeBeamIndices(kept);
    const added: Beam[] = [];
    const goesOn = new Set<Beam>();
    const appends: (() => void)[] = [];
    this.#beams = next.map(({ parent: rank, token }) => {
      const parent = parents[rank]!;
      const isFirst = !goesOn.has(parent);
      goesOn.add(parent);
      const beam = isFirst ? parent : this.#makeBeam(freeIndices.shift()!, parent.outputs);
      if (!isFirst) added.push(beam);
      appends.push(() => beam.append(token));
      return beam;
    });
    // Only now, since new beams begin with the tokens that their parents had.
    for (const append of appends) append();
    for (const beam of dropped) sink.drop(beam);
    for (const beam of added) sink.reportQueued(beam);
  }

  preempt(): void {
    this.numComputedTokens = 0;
    for (const beam of this.#beams) {
      beam.state = "waiting";
      beam.forgetComputed();
    }
  }

  cacheAs(caching: CachingOptions): void {
    this.#identity = { ...this.#identity, caching };
    for (const beam of this.#beams) beam.caching = caching;
  }

  #makeBeam(beamIndex: number, outputs: Iterable<TokenId>): Beam {
    return new Beam(this.#identity, this.#request, beamIndex, outputs);
  }

  /** Beams with a table. */
  get #holders(): readonly Beam[] {
    return this.#beams.filter(({ state }) => state === "running");
  }

  #freeBeamIndices(kept: ReadonlySet<Beam>): number[] {
    const taken = new Set([...kept].map(({ id }) => id - this.id));
    return Array.from(Array(this.#width).keys()).filter((beamIndex) => !taken.has(beamIndex));
  }

  /** Beams without a table whose best source is computed; the others fork later. */
  #forks(blocks: BlockManager): BeamFork[] {
    return this.#beams.flatMap((beam, i) => {
      if (beam.state === "running") return [];
      const sources = this.#beams.filter((other, j) => j < i || other.state === "running");
      let best: BeamFork | undefined;
      for (const source of sources) {
        const numShared = numCommonTokens(beam, source);
        const isLonger = best === undefined || numShared > best.numShared;
        if (isLonger || (numShared === best?.numShared && source.isReady)) {
          best = { beam, source, numShared };
        }
      }
      if (!best?.source.isReady) return [];
      // What a window has let go is computed again.
      const isThere = blocks.canFork(best.source.id, best.numShared);
      return [isThere ? best : { ...best, numShared: 0 }];
    });
  }
}

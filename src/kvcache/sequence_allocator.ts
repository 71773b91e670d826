import { invariant, InvariantError } from "../base/invariant.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import { type CacheSpec, hasStates, type StepGrain } from "../core/cache_group.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import type { Admission, AdmissionOptions, Fork } from "./admission.ts";
import type { BlockSource, Demand, Pool } from "./pool/pool.ts";
import type { AdmissionPlan, PoolCapacity } from "./pool_capacity.ts";
import type { DecisionListener } from "./prefix/cache_listener.ts";
import { type Hit, noHit } from "./prefix/longest_hit.ts";
import type { CachedLength, PrefixCache } from "./prefix/prefix_cache.ts";
import { liveBlocksOf } from "./tables/block_tables.ts";
import type { CopyQueue } from "./tables/copy_queue.ts";
import { createPath, type SequenceStart } from "./tables/create_path.ts";
import { type ForkPlan, planFork } from "./tables/fork_plan.ts";
import { scopeWithInputs } from "./tables/encoder_inputs.ts";
import { InputHolder } from "./tables/input_holder.ts";
import { snapshotChunkEnds } from "./tables/kept_lengths.ts";
import { SequenceBlocks } from "./tables/sequence_blocks.ts";
import { type CachingOptions, OPEN_SCOPE, type SequencePath } from "./tables/sequence_path.ts";
import { StartCopies } from "./tables/start_copies.ts";
import { swappedInTables } from "./tables/swap_tables.ts";
import type { SwapStore } from "./swap/swap_store.ts";

/** What sequences get their blocks from, and what is told of it. */
export interface AllocatorOptions {
  readonly groups: readonly CacheSpec[];
  readonly grain: StepGrain;
  readonly pool: Pool;
  readonly cache: PrefixCache | undefined;
  /** The cache where there is one, else the pool. */
  readonly blockSource: BlockSource;
  readonly capacity: PoolCapacity;
  readonly copies: CopyQueue;
  /** Blocks in host memory; absent where there is none. */
  readonly swap: SwapStore | undefined;
  /** Every so many tokens states are kept; absent: never. */
  readonly snapshotInterval: number | undefined;
  readonly onDecision: DecisionListener | undefined;
}

/**
 * The sequences with block tables, and every way in which one gets blocks: as it is admitted with
 * what is cached of its prompt, as it forks another, and as its tables are extended. All or nothing
 * each time; every decision is told. O(blocks moved or looked up).
 */
export class SequenceAllocator {
  readonly sequences = new Map<SequenceId, SequenceBlocks>();
  readonly #options: AllocatorOptions;
  readonly #blockSize: number;
  readonly #copies: StartCopies;
  readonly #hasStates: boolean;
  readonly #inputs: InputHolder;

  constructor(options: AllocatorOptions) {
    const { groups, pool, blockSource, copies: queue, onDecision } = options;
    const { blockSize } = options.grain;
    this.#options = options;
    this.#blockSize = blockSize;
    this.#copies = new StartCopies({ groups, blockSize, pool, blockSource, queue, onDecision });
    this.#hasStates = hasStates(groups);
    this.#inputs = new InputHolder({ groups, blockSize, cache: options.cache, blockSource });
  }

  /** The blocks of sequence `id`, which has tables. */
  blocksOf(id: SequenceId): SequenceBlocks {
    const blocks = this.sequences.get(id);
    if (blocks === undefined) throw new InvariantError(`sequence ${id} has no block table`);
    return blocks;
  }

  /** What an admission would find; never the last token, which is always computed. */
  lookUp(
    tokens: Uint32Array,
    scope: string = OPEN_SCOPE,
    maxCachedTokens: number = Infinity,
  ): Hit {
    const { cache, groups } = this.#options;
    const limit = Math.min(tokens.length - 1, maxCachedTokens);
    return cache?.lookUp(scope, tokens, limit) ?? noHit(groups.length);
  }

  /** How many leading tokens {@link lookUp} would find, each time that it is asked. */
  watch(tokens: Uint32Array, scope: string): CachedLength {
    return this.#options.cache?.watch(scope, tokens, tokens.length - 1) ?? (() => 0);
  }

  /** What an admission finds, takes and lacks. Changes nothing. */
  planAdmission(tokens: Uint32Array, options: AdmissionOptions): AdmissionPlan {
    const { reserved, scope, inputs = [], maxCachedTokens, numHeadroomSlabs } = options;
    const planInputs = this.#inputs.planner(inputs, scope);
    const terms = { isFirst: this.sequences.size === 0, reserved, numHeadroomSlabs, planInputs };
    const hit = this.lookUp(tokens, tokenScope(options), maxCachedTokens);
    const { capacity, swap } = this.#options;
    const swapped = options.swappedId === undefined ? undefined : swap?.find(options.swappedId);
    const swapIn = swapped && capacity.planSwapIn(swapped, hit, tokens.length, terms);
    return swapIn ?? capacity.planAdmission(hit, tokens.length, terms);
  }

  /** What a fork shares, takes and copies; undefined where its source has not got that. */
  planFork({ source, numTokens, numShared = numTokens - 1 }: Fork): ForkPlan | undefined {
    const { groups, grain } = this.#options;
    const sequence = this.blocksOf(source);
    if (sequence.inputs?.canFork(numShared) === false) return undefined;
    return planFork(groups, sequence, { numTokens, numShared }, grain);
  }

  /** Admits sequence `id`, or returns undefined and has changed nothing. */
  tryAdmit(id: SequenceId, tokens: Uint32Array, options: AdmissionOptions): Admission | undefined {
    const plan = this.planAdmission(tokens, options);
    const { numMissing, demandWithReserved, hits } = plan;
    if (!this.#hasRoom(id, numMissing, demandWithReserved, options, hits)) return undefined;
    if (plan.numSwappedInTokens !== undefined) return this.#swapIn(id, tokens, plan, options);
    this.#dropSwapped(id, plan);
    return this.#admit(id, tokens, plan, options);
  }

  /** Forks another sequence as `id`, or returns undefined and has changed nothing. */
  tryFork(id: SequenceId, fork: Fork, options: CachingOptions): Admission | undefined {
    const { numTokens, numShared = numTokens - 1, isOfRunningGroup = false } = fork;
    const { capacity, blockSource, groups, onDecision } = this.#options;
    const plan = this.planFork(fork);
    if (plan === undefined) return undefined;
    const hasRoom = isOfRunningGroup ? capacity.countMissing(plan.demand) <= 0 : this.#hasRoom(
      id,
      this.#countMissing(plan.demand, fork.numHeadroomSlabs),
      plan.demand,
      fork,
    );
    if (!hasRoom) return undefined;
    for (const ids of plan.shared) blockSource.retain(liveBlocksOf(ids));
    const taken = this.#take(id, plan.demand);
    const tables = plan.shared.map((ids, group) => [...ids, ...taken[group]!]);
    const { path: sourcePath, tables: from, inputs: sourceInputs } = this.blocksOf(fork.source);
    const numBlocks = Math.floor(numShared / this.#blockSize);
    const hit = noHit(groups.length);
    const inputs = this.#inputs.fork(sourceInputs, numShared, options);
    const caching = inputs === undefined
      ? options
      : pathOptions(options, inputs.caching.tokenScope);
    const path = this.#createPath(caching, { hit, numTokens, source: sourcePath, numBlocks });
    this.sequences.set(id, new SequenceBlocks(tables, numShared, path, inputs));
    onDecision?.({ type: "admit", sequenceId: id, numTokens, numCachedTokens: numShared });
    return {
      numCachedTokens: numShared,
      numEvictedTokens: 0,
      isLookup: false,
      copies: this.#copies.ofFork(id, { plan, from, to: tables, numShared }),
      chunkEnds: [],
      missingInputs: [],
    };
  }

  /** Makes the tables of sequence `id` cover `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    const { capacity } = this.#options;
    const sequence = this.blocksOf(id);
    const demand = capacity.extensionDemand(sequence.tables, numTokens);
    if (demand.every((count) => count === 0)) return true;
    if (capacity.countMissing(demand) > 0) return false;
    sequence.append(this.#take(id, demand));
    return true;
  }

  #countMissing(demand: Demand, numHeadroomSlabs: number | undefined): number {
    const terms = { isFirst: this.sequences.size === 0, numHeadroomSlabs };
    return this.#options.capacity.countMissingToAdmit(demand, [], terms);
  }

  /** Whether a new sequence may take so many blocks; tells why it waits if it may not. */
  #hasRoom(
    id: SequenceId,
    numMissing: number,
    demand: Demand,
    { numHeadroomSlabs: numAsked = 0 }: Pick<AdmissionOptions, "numHeadroomSlabs">,
    hits: readonly BlockId[] = [],
  ): boolean {
    invariant(!this.sequences.has(id), `sequence ${id} has a block table already`);
    if (numMissing <= 0) return true;
    const { pool, capacity, onDecision } = this.#options;
    const isFirst = this.sequences.size === 0;
    const numHeadroomSlabs = capacity.headroomFor({ isFirst, numHeadroomSlabs: numAsked });
    onDecision?.({
      type: "wait",
      sequenceId: id,
      reason: "blocks",
      numNeeded: pool.numSlabsFor(demand),
      numFree: pool.numFree,
      numEvictable: capacity.countEvictable(hits),
      ...(numHeadroomSlabs > 0 ? { numHeadroomSlabs } : {}),
    });
    return false;
  }

  /** Gives sequence `id` tables that begin with a hit, for which there is room. */
  #admit(
    id: SequenceId,
    tokens: Uint32Array,
    { hit, demand, inputs: inputPlan }: AdmissionPlan,
    options: AdmissionOptions,
  ): Admission {
    const { cache, groups, onDecision } = this.#options;
    const { retention } = options;
    const scope = tokenScope(options);
    const numTokens = tokens.length;
    const numCachedTokens = hit.nodes.length * this.#blockSize;
    const evicted = cache?.findEvicted(scope, tokens, hit.nodes);
    const states = this.#copies.holdHit(hit);
    const path = this.#createPath(pathOptions(options, scope), { hit, numTokens });
    cache?.noteHit(hit, retention);
    this.#inputs.hold(inputPlan, options);
    const numFound = hit.nodes.length + (inputPlan?.hits.length ?? 0);
    if (numFound > 0) onDecision?.({ type: "hit", sequenceId: id, numBlocks: numFound });
    const taken = this.#take(id, demand);
    const tables = hit.blocks.map((found, group) => {
      const { kind } = groups[group]!;
      if (kind === "encoder") return [];
      return kind === "state" ? taken[group]! : [...found, ...taken[group]!];
    });
    const inputs = this.#inputs.begin(inputPlan, taken, options, scope);
    this.sequences.set(id, new SequenceBlocks(tables, numCachedTokens, path, inputs));
    onDecision?.({ type: "admit", sequenceId: id, numTokens, numCachedTokens });
    return {
      numCachedTokens,
      numEvictedTokens: evicted?.numTokens ?? 0,
      ...(evicted && { evictedAgoMs: evicted.agoMs }),
      isLookup: cache?.canHit ?? false,
      copies: this.#copies.ofStates(id, states, tables),
      chunkEnds: this.#chunkEnds(hit, numTokens),
      missingInputs: inputs?.missing ?? [],
    };
  }

  /** As `#admit`, of a sequence whose blocks come back from host memory. */
  #swapIn(
    id: SequenceId,
    tokens: Uint32Array,
    { hit, hits, demand, numSwappedInTokens: numComputed = 0 }: AdmissionPlan,
    options: AdmissionOptions,
  ): Admission {
    const { cache, groups, blockSource, pool, swap, onDecision } = this.#options;
    const numTokens = tokens.length;
    const numCachedTokens = hit.nodes.length * this.#blockSize;
    blockSource.retain(hits);
    const path = this.#createPath(pathOptions(options, tokenScope(options)), { hit, numTokens });
    cache?.noteHit(hit, options.retention);
    if (hits.length > 0) onDecision?.({ type: "hit", sequenceId: id, numBlocks: hits.length });
    const taken = this.#take(id, demand);
    const lengths = { numComputed, blockSize: this.#blockSize };
    const tables = swappedInTables(groups, { found: hit.blocks, taken, ...lengths });
    this.sequences.set(id, new SequenceBlocks(tables, numComputed, path));
    onDecision?.({ type: "admit", sequenceId: id, numTokens, numCachedTokens });
    const loaded = swap!.load(id, (group, index) => {
      const isFound = groups[group]!.kind === "full" && index < hit.nodes.length;
      return isFound ? undefined : pool.idInGroup(tables[group]![index]!, group);
    });
    onDecision?.({ type: "swap_in", sequenceId: id, ...loaded, numTokens: numComputed });
    return {
      numCachedTokens,
      numLoadedTokens: numComputed - numCachedTokens,
      numEvictedTokens: 0,
      isLookup: cache?.canHit ?? false,
      copies: [],
      chunkEnds: this.#chunkEnds(hit, numTokens),
      missingInputs: [],
    };
  }

  /** Forgets blocks in host memory of a sequence that is admitted with what is cached instead. */
  #dropSwapped(id: SequenceId, { hit }: AdmissionPlan): void {
    const { swap, onDecision } = this.#options;
    const swapped = swap?.find(id);
    if (swapped === undefined) return;
    const isFound = hit.nodes.length * this.#blockSize >= swapped.numTokens;
    onDecision?.({ type: "swap_drop", sequenceId: id, reason: isFound ? "found" : "evicted" });
    if (isFound) swap!.drop(id);
    else swap!.dropEvicted(id);
  }

  #take(id: SequenceId, demand: Demand): BlockId[][] {
    const { cache, blockSource, onDecision } = this.#options;
    const numBefore = cache?.numEvicted ?? 0;
    const blocks = blockSource.take(demand, id);
    const numBlocks = (cache?.numEvicted ?? 0) - numBefore;
    if (numBlocks > 0) onDecision?.({ type: "evict", sequenceId: id, numBlocks });
    const numTaken = demand.reduce((sum, count) => sum + count, 0);
    if (numTaken > 0) onDecision?.({ type: "allocate", sequenceId: id, numBlocks: numTaken });
    return blocks;
  }

  #createPath(options: CachingOptions, start: SequenceStart): SequencePath | undefined {
    const { cache, snapshotInterval } = this.#options;
    return createPath(cache, options, { ...start, snapshotInterval });
  }

  /** Where the chunks of a prompt are to end for the sake of states. */
  #chunkEnds(hit: Hit, numTokens: number): readonly number[] {
    const { cache, snapshotInterval } = this.#options;
    if (cache?.columns === undefined || !this.#hasStates) return [];
    return snapshotChunkEnds(hit, numTokens, { blockSize: this.#blockSize, snapshotInterval });
  }
}

/** The scope in which the tokens of a sequence are looked for: inputs have a share in it. */
function tokenScope({ scope = OPEN_SCOPE, inputs = [] }: AdmissionOptions): string {
  return scopeWithInputs(scope, inputs);
}

/** How the path of a sequence is cached, given the scope of its tokens. */
function pathOptions({ retention }: CachingOptions, scope: string): CachingOptions {
  return omitUndefined({ scope, retention });
}

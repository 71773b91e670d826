import { invariant } from "../../base/invariant.ts";
import { ceilDiv } from "../../base/math.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { type AdmissionRequest, placeInputs, planAdmission } from "./admission_plan.ts";
import type { ContentKey, ContentKeys } from "./block_index.ts";
import { CopyQueue, type GroupCopy } from "./copy_queue.ts";
import { checkGroups } from "./group_audit.ts";
import { type ForgetListener, GroupCache } from "./group_cache.ts";
import { blocksToGrow, checkGroupSpec, type GroupSpec, maxLiveBlocks } from "./group_spec.ts";
import { GroupTables } from "./group_tables.ts";
import { type HybridHit, longestHit, NO_BLOCK } from "./hybrid_hit.ts";
import { planSlabs, type SlabLayoutOptions } from "../../core/slab_layout.ts";
import type { PoolUsage, SlabPool } from "./slab_pool.ts";

/** What a group manager is made of. */
export interface GroupManagerOptions {
  readonly groups: readonly GroupSpec[];
  /** Bytes that all groups share. */
  readonly poolBytes: number;
  /** Most positions of one sequence that are in flight at a time: the token budget of its steps. */
  readonly maxInFlightTokens: number;
  /** Slabs that an admission leaves available while other sequences hold some. Default 0. */
  readonly numWatermarkSlabs?: number;
  readonly layout?: SlabLayoutOptions;
  /** Learns which content a hit no longer finds. */
  readonly onEvict?: ForgetListener;
}

/** What an admitted sequence starts with. */
export interface GroupAdmission {
  /** Leading positions that are cached in every group. */
  readonly numCachedTokens: number;
  /** Contents whose encoder output was not there and has to be computed. */
  readonly missingInputs: readonly ContentKey[];
}

/**
 * The door of a KV cache with several groups: one table per group for each admitted sequence, out
 * of one pool, with one cache of contents per group.
 *
 * The caller says what happens to a sequence, in this order: `match`, `tryAdmit`; per step
 * `tryExtend`, `dispatch`, `publish`, and `settle` when the step is back; `free`. Device work comes
 * out as data, from `takeCopies`, to be done before the next dispatched step.
 *
 * A call that returns undefined or false has changed nothing. Costs are O(blocks moved).
 */
export class GroupManager {
  readonly #groups: readonly GroupSpec[];
  readonly #options: GroupManagerOptions;
  readonly #cache: GroupCache;
  readonly #pool: SlabPool;
  readonly #copies = new CopyQueue();
  readonly #sequences = new Map<SequenceId, GroupTables>();

  /** @throws {RangeError} when a group's specification names no cache. */
  constructor(options: GroupManagerOptions) {
    const { groups, poolBytes, layout, onEvict } = options;
    groups.forEach(checkGroupSpec);
    this.#groups = groups;
    this.#options = options;
    const slabs = planSlabs(groups.map((spec) => spec.blockBytes), layout);
    this.#cache = new GroupCache(slabs, poolBytes, onEvict);
    this.#pool = this.#cache.pool;
  }

  /** Sequences that hold blocks, those that wait for their last step included. */
  get numSequences(): number {
    return this.#sequences.size;
  }

  /** Slabs that are free or can be evicted. */
  get numAvailableSlabs(): number {
    return this.#pool.numAvailableSlabs;
  }

  /** Where the bytes of the pool are. O(pool). */
  usage(): PoolUsage {
    return this.#pool.usage();
  }

  /** Whether a sequence of `numTokens` positions, encoder outputs aside, could ever run alone. */
  fits(numTokens: number): boolean {
    const { cuts } = this.#pool.layout;
    const numSlabs = this.#groups.map((spec, group) => {
      const numBlocks = maxLiveBlocks(spec, numTokens, this.#options.maxInFlightTokens);
      return ceilDiv(numBlocks, cuts[group]!.blocksPerSlab);
    });
    return numSlabs.reduce((a, b) => a + b, 0) <= this.#pool.numSlabs;
  }

  /** How much of a prompt is cached: at most all tokens but the last, whose logits are wanted. */
  match(keys: ContentKeys, numTokens: number): HybridHit {
    return longestHit(this.#groups, numTokens - 1, (group, index) => {
      const key = keys[group]?.[index];
      return key === undefined ? undefined : this.#cache.index.find(group, key);
    });
  }

  /**
   * Gives sequence `id` tables for `request.numTokens` positions, or returns undefined and nothing.
   * With a hit, queues the copy of its states to the sequence's own.
   */
  tryAdmit(id: SequenceId, request: AdmissionRequest): GroupAdmission | undefined {
    invariant(!this.#sequences.has(id), `sequence ${id} has block tables already`);
    const { maxInFlightTokens, numWatermarkSlabs = 0 } = this.#options;
    const plan = planAdmission(this.#groups, this.#cache.entries, request, maxInFlightTokens);
    const numKept = this.#sequences.size === 0 ? 0 : numWatermarkSlabs;
    if (!this.#pool.canAllocate(plan.demand, numKept)) return undefined;
    const taken = this.#pool.tryAllocate(id, plan.demand)!;
    const numCachedTokens = request.hit?.numTokens ?? 0;
    const tables = this.#groups.map((spec, group): BlockId[] => {
      if (spec.kind === "encoder") return [];
      if (spec.kind === "state-space") return taken[group]!;
      return [...request.hit?.blocks[group] ?? [], ...taken[group]!];
    });
    const inputs = placeInputs(plan, taken);
    this.#sequences.set(id, new GroupTables(this.#groups, tables, inputs, numCachedTokens));
    if (numCachedTokens > 0) this.#copyStates(request.hit!, taken);
    const missing = plan.inputs.filter(({ found }) => found === undefined);
    const missingInputs = [...new Set(missing.map(({ input }) => input.key))];
    return { numCachedTokens, missingInputs };
  }

  /** Makes the tables of sequence `id` cover `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    const { tables } = this.#sequence(id);
    const counts = this.#groups.map((spec, group) => {
      if (spec.kind === "state-space") return 0;
      return blocksToGrow(spec, tables[group]!.length * spec.tokensPerBlock, numTokens);
    });
    const taken = this.#pool.tryAllocate(id, { counts });
    taken?.forEach((ids, group) => {
      for (const block of ids) tables[group]!.push(block);
    });
    return taken !== undefined;
  }

  /** Says that a step which computes the next `count` positions of `id` has been handed over. */
  dispatch(id: SequenceId, count: number): void {
    const sequence = this.#sequence(id);
    const end = sequence.numComputedTokens + count;
    invariant(!sequence.isEnding, `sequence ${id} has ended`);
    invariant(sequence.covers(end), `sequence ${id}: no blocks for ${end} positions`);
    this.#groups.forEach((spec, group) => {
      const state = spec.kind === "state-space" ? sequence.tables[group]![0] : undefined;
      const waits = state !== undefined && this.#copies.isWaitingFor(group, state);
      invariant(!waits, `sequence ${id}: its state is to be copied before the next step`);
    });
    sequence.numComputedTokens = end;
    sequence.numInFlightTokens += count;
  }

  /**
   * Says that a step with `count` positions of `id` is back, and frees what no other step in flight
   * reads any more.
   */
  settle(id: SequenceId, count: number): void {
    const sequence = this.#sequence(id);
    invariant(
      count <= sequence.numInFlightTokens,
      `sequence ${id}: ${count} positions settle, ${sequence.numInFlightTokens} are in flight`,
    );
    sequence.numInFlightTokens -= count;
    const isOver = sequence.isEnding && sequence.numInFlightTokens === 0;
    this.#release(isOver ? sequence.all() : sequence.takeDead());
    if (isOver) this.#drop(id);
  }

  /**
   * Lets others hit the whole blocks of `id` that have been dispatched and have keys. A step that
   * is ordered later may read them.
   */
  publish(id: SequenceId, keys: ContentKeys): void {
    const sequence = this.#sequence(id);
    this.#groups.forEach((spec, group) => {
      if (spec.kind === "encoder" || spec.kind === "state-space") return;
      const numWhole = Math.floor(sequence.numComputedTokens / spec.tokensPerBlock);
      const end = Math.min(numWhole, keys[group]!.length);
      for (let i = sequence.numPublished[group]!; i < end; i++) {
        const block = sequence.tables[group]![i]!;
        if (block !== NO_BLOCK) this.#cache.publish(group, keys[group]![i]!, block);
      }
      sequence.numPublished[group] = Math.max(end, sequence.numPublished[group]!);
    });
  }

  /** Lets others use the encoder's output for `key`, once the step that makes it is dispatched. */
  publishInput(id: SequenceId, key: ContentKey): void {
    for (const { group, key: own, blocks } of this.#sequence(id).inputs) {
      if (own === key) this.#cache.publishInput(group, key, blocks);
    }
  }

  /**
   * Keeps the states of `id` as they are after all dispatched positions, for others to hit; false
   * and nothing when there is no room. The positions must end a block of every state space group.
   *
   * A state is overwritten in place, so this queues a copy, to be made before the sequence goes on.
   */
  trySnapshot(id: SequenceId, keys: ContentKeys): boolean {
    const { numComputedTokens, tables } = this.#sequence(id);
    const wanted = this.#groups.map((spec, group) => {
      if (spec.kind !== "state-space") return undefined;
      const index = numComputedTokens / spec.tokensPerBlock - 1;
      const key = keys[group]![index];
      invariant(key !== undefined, `sequence ${id}: no snapshot at ${numComputedTokens} positions`);
      return this.#cache.index.find(group, key) === undefined ? key : undefined;
    });
    const counts = wanted.map((key) => key === undefined ? 0 : 1);
    const taken = this.#pool.tryAllocate(id, { counts });
    wanted.forEach((key, group) => {
      if (key === undefined || taken === undefined) return;
      const [from, to] = [tables[group]![0]!, taken[group]![0]!];
      this.#cache.publish(group, key, to);
      // The snapshot's one reference is the copy's.
      this.#pool.retain(group, [from]);
      this.#copies.add({ group, from, to });
    });
    return taken !== undefined;
  }

  /** Hands out, in order, the copies to make before the next step; `finishCopies` takes them. */
  takeCopies(): readonly GroupCopy[] {
    return this.#copies.take();
  }

  /** Says that the device has made these copies. */
  finishCopies(copies: readonly GroupCopy[]): void {
    this.#copies.finish(copies);
    this.#release(
      copies.flatMap(({ group, from, to }) => [{ group, id: to }, { group, id: from }]),
    );
  }

  /** The table of `id` in one group, as it grows; a state space group's is the one block. */
  blockTable(id: SequenceId, group: number): readonly BlockId[] {
    return this.#sequence(id).tables[group]!;
  }

  /** The blocks with the encoder's output for an input of `id`, in one group. */
  inputBlocks(id: SequenceId, group: number, key: ContentKey): readonly BlockId[] | undefined {
    return this.#sequence(id).inputs.find((input) => input.group === group && input.key === key)
      ?.blocks;
  }

  /** The logical time of the last release of `key`'s content; undefined while used or gone. */
  lastUsed(group: number, key: ContentKey): number | undefined {
    const id = this.#cache.index.find(group, key);
    const isCached = id !== undefined && this.#pool.refCount(group, id) === 0;
    return isCached ? this.#pool.lastUsed(group, id) : undefined;
  }

  /** Takes all blocks of `id` back: at once, or with the last of its steps in flight. */
  free(id: SequenceId): void {
    const sequence = this.#sequence(id);
    invariant(!sequence.isEnding, `sequence ${id} is freed twice`);
    sequence.isEnding = true;
    if (sequence.numInFlightTokens > 0) return;
    this.#release(sequence.all());
    this.#drop(id);
  }

  /** Audit of conservation, references and contents. O(pool + tables). */
  checkIntegrity(): void {
    checkGroups(this.#groups, {
      cache: this.#cache,
      copies: this.#copies,
      sequences: this.#sequences,
    });
  }

  #copyStates(hit: HybridHit, taken: readonly (readonly BlockId[])[]): void {
    this.#groups.forEach((spec, group) => {
      if (spec.kind !== "state-space") return;
      const [from, to] = [hit.blocks[group]!.at(-1)!, taken[group]![0]!];
      // The admission retained the snapshot; that reference is the copy's.
      this.#pool.retain(group, [to]);
      this.#copies.add({ group, from, to });
    });
  }

  /** In one moment of the clock, in this order. */
  #release(blocks: readonly { group: number; id: BlockId }[]): void {
    this.#pool.tick();
    for (const { group, id } of blocks) this.#pool.release(group, id);
  }

  #drop(id: SequenceId): void {
    this.#sequences.delete(id);
    this.#pool.forgetOwner(id);
  }

  #sequence(id: SequenceId): GroupTables {
    const sequence = this.#sequences.get(id);
    invariant(sequence !== undefined, `sequence ${id} has no block tables`);
    return sequence;
  }
}

import { type CacheSpec, hasStates, maxLiveBlocks, type StepGrain } from "../core/cache_group.ts";
import type { BlockId } from "../core/ids.ts";
import { addDemands, type BlockSource, type Demand, type Pool } from "./pool/pool.ts";
import { type Hit, noHit } from "./prefix/longest_hit.ts";
import { type BlockTables, liveBlocksOf } from "./tables/block_tables.ts";
import { admissionDemand, extensionDemand, swapInDemand } from "./tables/demands.ts";
import { type EncoderInput, inputDemand, type InputPlan } from "./tables/encoder_inputs.ts";
import { canSwapIn, fullBlocksOf } from "./tables/swap_tables.ts";
import type { SwappedSequence } from "./swap/swap_store.ts";

/** What an admission begins with and takes, and how many slabs it lacks for it. */
export interface AdmissionPlan {
  readonly hit: Hit;
  /** What it does for its inputs; absent without any. */
  readonly inputs: InputPlan | undefined;
  /** All cached blocks that it will hold. */
  readonly hits: readonly BlockId[];
  readonly demand: Demand;
  /** Those, and what is reserved beside them. */
  readonly demandWithReserved: Demand;
  readonly numMissing: number;
  /** Positions that it goes on behind, whose blocks come from host memory; absent: none do. */
  readonly numSwappedInTokens?: number;
}

/** What an admission asks for beside its tokens. */
export interface AdmissionTerms {
  /** Whether no sequence has tables. */
  readonly isFirst: boolean;
  /** Blocks that the other sequences of its request take next. Default: none. */
  readonly reserved?: Demand | undefined;
  /** Slabs to leave free, where that is more than the watermark. Default: the watermark. */
  readonly numHeadroomSlabs?: number | undefined;
  /**
   * Plans its inputs, given how many leading positions are cached and whether it may find what is
   * cached of the inputs. Absent without any.
   */
  readonly planInputs?: ((numCached: number, isLookup: boolean) => InputPlan) | undefined;
}

/** The pool, what draws from it, and what an admission leaves free. */
export interface PoolCapacityOptions {
  readonly pool: Pool;
  /** The prefix cache where there is one, else the pool. */
  readonly blockSource: BlockSource;
  readonly groups: readonly CacheSpec[];
  readonly grain: StepGrain;
  readonly blocksPerSlab: Demand;
  /** Slabs that an admission leaves over; absent: one percent of the pool. */
  readonly watermark: number | undefined;
}

/**
 * What fits into the pool, as arithmetic: how many blocks sequences take, how many slabs these
 * fill, and how many are missing. Changes nothing.
 */
export class PoolCapacity {
  /** Whether slabs are cut into several blocks of a group. */
  readonly isCut: boolean;
  readonly #hasStates: boolean;
  readonly #pool: Pool;
  readonly #blockSource: BlockSource;
  readonly #groups: readonly CacheSpec[];
  readonly #grain: StepGrain;
  readonly #maxPerSlab: number;
  readonly #fixedWatermark: number | undefined;

  constructor({ pool, blockSource, groups, grain, blocksPerSlab, watermark }: PoolCapacityOptions) {
    this.#pool = pool;
    this.#blockSource = blockSource;
    this.#groups = groups;
    this.#grain = grain;
    this.#maxPerSlab = Math.max(...blocksPerSlab);
    this.isCut = this.#maxPerSlab > 1;
    this.#fixedWatermark = watermark;
    this.#hasStates = hasStates(groups);
  }

  /** Slabs that a sequence of `numTokens` positions fills with its inputs, when it holds most. */
  numSlabsOf(numTokens: number, inputs: readonly EncoderInput[] = []): number {
    const demand = this.#groups.map((spec) => maxLiveBlocks(spec, numTokens, this.#grain));
    if (inputs.length === 0) return this.#pool.numSlabsFor(demand);
    const ofInputs = inputDemand(this.#groups, inputs, this.#grain.blockSize);
    return this.#pool.numSlabsFor(addDemands(demand, ofInputs));
  }

  /** Tokens of one sequence that would fit if it had the pool alone; perhaps without limit. */
  get numTokens(): number {
    const { numSlabs } = this.#pool;
    const fits = (numTokens: number) => this.numSlabsOf(numTokens) <= numSlabs;
    const most = numSlabs * this.#grain.blockSize * this.#maxPerSlab;
    if (fits(most)) return fits(2 * most) ? Infinity : most;
    let [fitting, beyond] = [0, most];
    while (beyond - fitting > 1) {
      const middle = Math.floor((fitting + beyond) / 2);
      if (fits(middle)) fitting = middle;
      else beyond = middle;
    }
    return fitting;
  }

  /** Slabs that `width` beams fill at least, each with a block of its own behind the prompt's. */
  numSlabsOfSearch(numPromptTokens: number, width: number): number {
    const numWhole = numPromptTokens - numPromptTokens % this.#grain.blockSize;
    return this.#pool.numSlabsFor(
      this.#groups.map((spec) =>
        width + (spec.kind === "state" ? 0 : maxLiveBlocks(spec, numWhole, this.#grain))
      ),
    );
  }

  /** Blocks that a fork of `numTokens` tokens takes which shares the first `numShared`. */
  forkDemand(numTokens: number, numShared: number): Demand {
    const numWhole = numShared - numShared % this.#grain.blockSize;
    return admissionDemand(this.#groups, numTokens, numWhole, this.#grain);
  }

  /** Blocks that tables lack to cover `numTokens` positions. */
  extensionDemand(tables: BlockTables, numTokens: number): Demand {
    return extensionDemand(this.#groups, tables, numTokens, this.#grain.blockSize);
  }

  /** Slabs that running sequences lack to get so many more blocks; 0 or less where they do not. */
  countMissing(demand: Demand): number {
    return this.#blockSource.countMissing({ demand });
  }

  /**
   * Slabs that an admission with these hits lacks; 0 or less where it fits.
   *
   * The first sequence may take all: no other could grow into what it leaves, and one that needs
   * the whole pool would wait for ever.
   */
  countMissingToAdmit(
    demand: Demand,
    hits: readonly BlockId[],
    terms: Pick<AdmissionTerms, "isFirst" | "numHeadroomSlabs">,
  ): number {
    return this.#blockSource.countMissing({
      demand,
      hits,
      numHeadroomSlabs: this.headroomFor(terms),
    });
  }

  /** Slabs that an admission leaves over. */
  headroomFor(
    { isFirst, numHeadroomSlabs = 0 }: Pick<AdmissionTerms, "isFirst" | "numHeadroomSlabs">,
  ): number {
    const watermark = this.#fixedWatermark ?? Math.floor(this.#pool.numSlabs / 100);
    return isFirst ? 0 : Math.max(watermark, numHeadroomSlabs);
  }

  /**
   * How many blocks of each group an admission of `numTokens` tokens takes that finds `hit`.
   *
   * The blocks of a hit can lie in many slabs, one in each, and keep these from other groups; and a
   * state that is found is held beside the one that it is copied to. The only sequence, where it
   * does not fit because of that, is planned without a hit.
   */
  planAdmission(hit: Hit, numTokens: number, terms: AdmissionTerms): AdmissionPlan {
    const plan = this.#planWith(hit, numTokens, terms, true);
    const takesMore = (this.isCut || this.#hasStates) && plan.hits.length > 0;
    if (plan.numMissing <= 0 || !terms.isFirst || !takesMore) return plan;
    return this.#planWith(noHit(this.#groups.length), numTokens, terms, false);
  }

  /**
   * As {@link planAdmission}, of a sequence whose blocks come back from host memory; undefined
   * where they do not follow on what is cached, or reach no further.
   */
  planSwapIn(
    swapped: SwappedSequence,
    hit: Hit,
    numTokens: number,
    terms: AdmissionTerms,
  ): AdmissionPlan | undefined {
    if (!canSwapIn(swapped, hit.nodes.length, this.#grain.blockSize)) return undefined;
    const { numTokens: numComputed } = swapped;
    const found = { ...hit, blocks: fullBlocksOf(this.#groups, hit.blocks) };
    const lengths = { numComputed, numFound: hit.nodes.length };
    const demand = swapInDemand(this.#groups, numTokens, lengths, this.#grain);
    const hits = found.blocks.flat();
    const numMissing = this.countMissingToAdmit(demand, hits, terms);
    const plan = {
      hit: found,
      inputs: undefined,
      hits,
      demand,
      demandWithReserved: demand,
      numMissing,
    };
    if (numMissing > 0 && this.isCut && terms.isFirst && hits.length > 0) {
      return this.planSwapIn(swapped, noHit(this.#groups.length), numTokens, terms);
    }
    return { ...plan, numSwappedInTokens: numComputed };
  }

  /** Slabs that can be evicted when `hits` are held. */
  countEvictable(hits: readonly BlockId[]): number {
    if (this.isCut) return this.#pool.numIdle;
    return this.#pool.numIdle - hits.filter((block) => this.#pool.isIdle(block)).length;
  }

  #planWith(
    hit: Hit,
    numTokens: number,
    { isFirst, reserved, numHeadroomSlabs, planInputs }: AdmissionTerms,
    isLookup: boolean,
  ): AdmissionPlan {
    const numCached = hit.nodes.length * this.#grain.blockSize;
    const inputs = planInputs?.(numCached, isLookup);
    const ofTokens = admissionDemand(this.#groups, numTokens, numCached, this.#grain);
    const demand = inputs === undefined ? ofTokens : addDemands(ofTokens, inputs.demand);
    const hits = inputs === undefined ? blocksOf(hit) : [...blocksOf(hit), ...inputs.hits];
    const demandWithReserved = reserved === undefined ? demand : addDemands(demand, reserved);
    const numMissing = this.countMissingToAdmit(demandWithReserved, hits, {
      isFirst,
      numHeadroomSlabs,
    });
    return { hit, inputs, hits, demand, demandWithReserved, numMissing };
  }
}

/** All blocks of a hit. */
function blocksOf({ blocks }: Hit): readonly BlockId[] {
  return blocks.length === 1 ? liveBlocksOf(blocks[0]!) : blocks.flatMap(liveBlocksOf);
}

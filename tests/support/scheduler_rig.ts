import type { Batch, ChunkResult } from "../../src/core/batch.ts";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import type { SchedulingSettings } from "../../src/core/engine_config.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { StepBounds } from "../../src/core/step_bounds.ts";
import type { SwapCosts, SwapSpace } from "../../src/core/swap_space.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import type { TokenMatchers } from "../../src/core/token_matcher.ts";
import type { KeySpace } from "../../src/kvcache/prefix/block_key.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import type { DecisionListener } from "../../src/kvcache/prefix/cache_listener.ts";
import type { PoolResize } from "../../src/kvcache/pool_resize.ts";
import type { PrefixCacheOptions } from "../../src/kvcache/prefix/prefix_cache_options.ts";
import { Scheduler } from "../../src/scheduler/scheduler.ts";
import { PagedFakeRunner } from "./paged_fake_runner.ts";

/** Sizes of a rig; what is left out does not limit. */
export interface RigOptions extends SchedulingSettings {
  readonly numBlocks?: number;
  readonly blockSize?: number;
  readonly numWatermarkBlocks?: number;
  readonly maxModelLen?: number;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly maxNumQueuedSeqs?: number;
  /** The fake model's KV is another in sequences of more tokens; absent: it is always the same. */
  readonly shortContextLen?: number;
  /** What the fake model's layers keep, and how slabs are cut for them; default: one full group. */
  readonly groups?: readonly CacheSpec[];
  readonly blocksPerSlab?: readonly number[];
  /** Host memory for preempted sequences, what copying and computing take, and how it fails. */
  readonly swapSpace?: SwapSpace;
  readonly swapCosts?: SwapCosts;
  readonly loseEvery?: number;
  /** Of the fake model's candidates. */
  readonly vocabSize?: number;
  /** Absent: no prefix cache. */
  readonly prefixCache?: Partial<PrefixCacheOptions>;
  readonly onDecision?: DecisionListener;
  readonly matchers?: TokenMatchers;
}

/** What all keys of tests are made of. */
export const KEY_SPACE: KeySpace = {
  secret: Uint8Array.of(1, 2, 3),
  modelFingerprint: "fake",
  layout: "f32",
};

type RigSizes = Required<
  Omit<
    RigOptions,
    | "prefixCache"
    | "onDecision"
    | "matchers"
    | "vocabSize"
    | "groups"
    | "blocksPerSlab"
    | "shortContextLen"
    | "swapSpace"
    | "swapCosts"
    | "loseEvery"
    | keyof SchedulingSettings
  >
>;

const UNLIMITED: RigSizes = {
  numBlocks: 200,
  blockSize: 2,
  numWatermarkBlocks: 0,
  maxModelLen: 1000,
  maxNumSeqs: 1000,
  maxNumBatchedTokens: 1000,
  maxNumQueuedSeqs: 1000,
};

/** A scheduler over a fake model, turned by hand. */
export class SchedulerRig {
  readonly options: RigSizes & RigOptions;
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;
  readonly runner: PagedFakeRunner;
  /** Every event so far, in order. */
  readonly events: TokenEvent[] = [];
  /** What the scheduler takes for the time, in milliseconds. */
  nowMs = 0;
  /** What its steps are cut to. */
  bounds: StepBounds = {};

  constructor(options: RigOptions = {}) {
    this.options = { ...UNLIMITED, ...options };
    const { prefixCache, ...sizes } = this.options;
    const caching = prefixCache && { prefixCache: { keySpace: KEY_SPACE, ...prefixCache } };
    const maxInFlightTokens = this.options.maxNumBatchedTokens;
    this.blocks = new BlockManager({ ...sizes, ...caching, maxInFlightTokens });
    this.runner = new PagedFakeRunner(this.options);
    this.runner.loseEvery = this.options.loseEvery ?? Infinity;
    this.scheduler = new Scheduler(this.blocks, this.options);
    if (this.options.swapCosts) this.scheduler.setSwapCosts(this.options.swapCosts);
  }

  add(...requests: GenerationRequest[]): void {
    for (const request of requests) this.scheduler.add(request, this.nowMs);
  }

  /** The smallest pool that a resize may make now, pins apart. */
  get minNumBlocks(): number {
    const { maxModelLen } = this.options;
    return Math.max(
      this.blocks.numInUse,
      Math.min(this.blocks.numBlocks, this.blocks.numSlabsOf(maxModelLen)),
    );
  }

  /** Resizes the pool and the fake's memory together. */
  resize(numBlocks: number): PoolResize {
    const resize = this.scheduler.pool.resize(numBlocks);
    this.runner.resizeKv(numBlocks, resize.moves);
    return resize;
  }

  /**
   * One turn; `whileInFlight` happens between schedule and commit. What comes of each is audited.
   * Returns what was planned.
   */
  step(whileInFlight: (batch: Batch) => void = () => {}): Batch | undefined {
    const batch = this.scheduler.schedule(this.nowMs, this.bounds);
    if (batch === undefined) {
      this.events.push(...this.scheduler.takeEvents());
      this.scheduler.checkIntegrity();
      return undefined;
    }
    const results: ChunkResult[] = this.runner.run(batch);
    whileInFlight(batch);
    this.scheduler.checkIntegrity();
    this.events.push(...this.scheduler.commit(batch, results));
    this.scheduler.checkIntegrity();
    return batch;
  }

  /** Turns until nothing is left; fails if that takes more than `maxNumSteps`. */
  finish(maxNumSteps = 1000): void {
    for (let numSteps = 0; this.scheduler.hasWork; numSteps++) {
      if (numSteps === maxNumSteps) throw new Error(`work left after ${maxNumSteps} steps`);
      this.step();
    }
    this.events.push(...this.scheduler.takeEvents());
    this.scheduler.checkIntegrity();
  }

  /** The tokens of one sequence so far. */
  tokensOf(requestId: string, index = 0): number[] {
    return this.#eventsOf(requestId, index).flatMap(({ token }) => token ?? []);
  }

  /** The last event of one sequence if it has ended. */
  endOf(requestId: string, index = 0): TokenEvent | undefined {
    return this.events.find((event) =>
      event.finishReason !== undefined && event.requestId === requestId && event.index === index
    );
  }

  #eventsOf(requestId: string, index: number): TokenEvent[] {
    return this.events.filter((event) => event.requestId === requestId && event.index === index);
  }
}

/** `[sequenceId, start, count]` of each chunk. */
export function chunksOf(batch: Batch | undefined): number[][] {
  return batch?.chunks.map(({ sequenceId, start, tokens }) => [sequenceId, start, tokens.length]) ??
    [];
}

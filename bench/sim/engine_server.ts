import type { Batch, ChunkResult } from "../../src/core/batch.ts";
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { StepTraceEntry } from "../../src/engine/step_trace.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import { Scheduler } from "../../src/scheduler/scheduler.ts";
import type { SchedulerOptions } from "../../src/scheduler/scheduler_options.ts";
import { GREEDY } from "../demo.ts";
import type { Arrival, Progress, ServerTotals, SimServer, SimStep } from "./sim_server.ts";
import type { StepCosts } from "./costs.ts";
import { COST_BLOCK, type StepWork, workOf } from "./step_work.ts";

/** Keys of cached blocks decide nothing but names. */
const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "simulated", layout: "none" };

/** What a block counts for in host memory, so that costs are per block. */
const MIB = 2 ** 20;

/** The sizes of a simulated engine. */
export interface EngineSizes
  extends Omit<SchedulerOptions, "maxNumQueuedSeqs" | "onDecision" | "matchers"> {
  readonly numBlocks: number;
  readonly blockSize: number;
  /** Absent: no prefix cache. */
  readonly evictionPolicy?: EvictionPolicyName;
  /** Blocks that an admission leaves over. Default: one percent of the pool. */
  readonly numWatermarkBlocks?: number;
  /** Blocks of host memory. Absent: none. */
  readonly numSwapBlocks?: number;
}

/** Most requests that wait: none is refused for it. */
const MAX_WAITING = Number.MAX_SAFE_INTEGER;

/** The server's own scheduler and block manager, without a device: tokens are those of the load. */
export class EngineServer implements SimServer {
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;
  /** By sequence: requests have one each, and ids are given in order. */
  readonly #arrivals: Arrival[] = [];
  readonly #byRequest = new Map<string, Arrival>();
  readonly #now: () => number;
  readonly #maxModelLen: number;
  readonly #onStepTrace: ((entry: StepTraceEntry) => void) | undefined;

  /**
   * @param now simulated milliseconds.
   * @param onStepTrace is told what a server's `--trace-steps` would write.
   */
  constructor(
    whole: EngineSizes,
    now: () => number,
    onStepTrace?: (entry: StepTraceEntry) => void,
  ) {
    const { evictionPolicy: policy, numSwapBlocks, ...rest } = whole;
    const swap = numSwapBlocks === undefined
      ? {}
      : { swapSpace: { numSlabs: numSwapBlocks, blockBytes: [MIB] } };
    const sizes = { ...rest, ...swap };
    this.#now = now;
    this.#maxModelLen = whole.maxModelLen;
    this.#onStepTrace = onStepTrace;
    onStepTrace?.({ type: "start", sizes: { ...whole, ...swap, maxNumQueuedSeqs: MAX_WAITING } });
    const caching = policy && { prefixCache: { policy, keySpace: KEY_SPACE, now } };
    this.blocks = new BlockManager({
      ...sizes,
      ...caching,
      maxInFlightTokens: sizes.maxNumBatchedTokens,
    });
    this.scheduler = new Scheduler(this.blocks, { ...sizes, maxNumQueuedSeqs: MAX_WAITING });
  }

  get hasWork(): boolean {
    return this.scheduler.hasWork;
  }

  get totals(): ServerTotals {
    const { numPreemptions, numQueriedTokens, numHitTokens } = this.scheduler.stats;
    return { numPreemptions, numQueried: numQueriedTokens, numHit: numHitTokens };
  }

  noteCosts({ tokenMs, swapMs }: StepCosts): void {
    if (this.blocks.swap === undefined || swapMs === undefined) return;
    const blockMs = swapMs * this.blocks.blockSize / COST_BLOCK;
    const costs = { tokenMs, storeMsPerMiB: blockMs, loadMsPerMiB: blockMs };
    this.#onStepTrace?.({ type: "costs", costs });
    this.scheduler.setSwapCosts(costs);
  }

  add(arrival: Arrival): boolean {
    const { index, session: { owner, priority }, turn } = arrival;
    // As a server's door does; the scheduler would end the answer early.
    if (turn.promptLen + turn.outputLen > this.#maxModelLen) return false;
    const request: GenerationRequest = {
      id: String(index),
      sequences: [{ prompt: turn.prompt(), params: { ...GREEDY, maxTokens: turn.outputLen } }],
      ...(owner === undefined ? {} : { owner }),
      ...(priority === undefined ? {} : { ownerPriority: priority }),
    };
    try {
      this.scheduler.add(request, this.#now());
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return false;
    }
    this.#onStepTrace?.({ type: "add", request });
    this.#arrivals.push(arrival);
    this.#byRequest.set(request.id, arrival);
    return true;
  }

  step(): SimStep | undefined {
    const batch = this.scheduler.schedule(this.#now());
    this.#onStepTrace?.({ type: "plan", ...(batch === undefined ? {} : { batch }) });
    if (batch === undefined) return undefined;
    return { work: this.#workOf(batch), finish: () => this.#finish(batch) };
  }

  takeProgress(): readonly Progress[] {
    return this.#progress(this.scheduler.takeEvents());
  }

  #finish(batch: Batch): Progress[] {
    const results = this.#draw(batch);
    this.#onStepTrace?.({ type: "results", step: batch.step, results });
    return this.#progress(this.scheduler.commit(batch, results));
  }

  #workOf({ chunks, swapOuts = [], swapIns = [] }: Batch): StepWork {
    const { blockSize } = this.blocks;
    let numEmpty = 0;
    for (const { start, tokens, blockTables } of chunks) {
      numEmpty += blockTables[0]!.length * blockSize - (start + tokens.length);
    }
    const spans = chunks.map(({ start, tokens }) => ({ start, count: tokens.length }));
    const numSwapped = (swapOuts.length + swapIns.length) * blockSize / COST_BLOCK;
    const swapped = numSwapped === 0 ? {} : { numSwapped };
    return { ...workOf(spans), ...swapped, numHeld: this.blocks.numInUse * blockSize, numEmpty };
  }

  #draw({ chunks }: Batch): ChunkResult[] {
    return chunks.flatMap(({ sequenceId, draw }) => {
      if (draw === undefined) return [];
      const token = this.#arrivals[sequenceId]!.turn.token(draw.outputIndex);
      return [{ sequenceId, outputs: [{ type: "token", token }] }];
    });
  }

  #progress(events: readonly TokenEvent[]): Progress[] {
    return events.map(({ requestId, token, finishReason }): Progress => {
      const { index } = this.#byRequest.get(requestId)!;
      const hasToken = token !== undefined;
      if (finishReason === undefined) return { index, hasToken };
      this.#byRequest.delete(requestId);
      return { index, hasToken, end: finishReason === "error" ? "failed" : "finished" };
    });
  }
}

import { MAX_DECODE_STEPS, MAX_DRAWS } from "../core/batch.ts";
import { hasStates } from "../core/cache_group.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { addDemands } from "../kvcache/pool/pool.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** The limits of plans of several decode steps. */
type FurtherStepsOptions = Pick<
  SchedulerOptions,
  "maxModelLen" | "shortContextLen" | "maxNumBatchedTokens" | "maxDecodeSteps"
>;

/**
 * Lets a plan of decodes stand for several steps, whose tokens the device feeds from each to the
 * next: the host plans, submits and reads back once for all of them.
 *
 * Only where nobody waits, since a request that comes meanwhile waits for all of them; where draws
 * follow from nothing but the tokens before; where no block comes from host memory, since it may be
 * corrupt; and as far as there is room without taking any from others. A sequence that is to end
 * sooner leaves sooner; one that draws a stop token wastes what is behind.
 */
export class FurtherSteps {
  readonly #blocks: BlockManager;
  readonly #options: FurtherStepsOptions;
  readonly #queues: SequenceQueues;
  /** States are overwritten in place, so that none is left of where a sequence stops. */
  readonly #hasStates: boolean;

  constructor(blocks: BlockManager, options: FurtherStepsOptions, queues: SequenceQueues) {
    this.#blocks = blocks;
    this.#options = options;
    this.#queues = queues;
    this.#hasStates = hasStates(blocks.cacheGroups);
  }

  /** Adds further steps to a plan of one, so that it has at most `most` of them. */
  addTo(plan: BatchPlan, most: number = MAX_DECODE_STEPS): void {
    const { sequences, groups } = plan;
    const { maxDecodeSteps = 1, maxNumBatchedTokens } = this.#options;
    const limit = Math.min(
      ...[most, maxDecodeSteps, MAX_DECODE_STEPS, maxNumBatchedTokens],
      Math.floor(MAX_DRAWS / sequences.length),
    );
    if (limit < 2 || this.#hasStates || plan.hasSwaps || this.#queues.numWaiting > 0) return;
    if (!groups.every(({ drawsFreely }) => drawsFreely)) return;
    const own = sequences.map((sequence) => Math.min(limit, this.#numStepsUntilEnd(sequence)));
    const bound = this.#affordable(sequences, own);
    sequences.forEach((sequence, i) => {
      const numDecodeSteps = Math.min(own[i]!, bound);
      const { id, numComputedTokens } = sequence;
      if (numDecodeSteps < 2 || !this.#blocks.tryExtend(id, numComputedTokens + numDecodeSteps)) {
        return;
      }
      plan.lengthen(i, numDecodeSteps, this.#blocks.blockTables(id));
    });
  }

  /** Steps after which a sequence ends, or outgrows its kind of context, whatever it draws. */
  #numStepsUntilEnd({ numTokens, numOutputTokens, params }: Sequence): number {
    const { maxModelLen, shortContextLen = Infinity } = this.#options;
    const untilLong = shortContextLen - numTokens + 1;
    return Math.min(
      params.maxTokens - numOutputTokens,
      maxModelLen - numTokens,
      untilLong > 0 ? untilLong : Infinity,
    );
  }

  /** The most steps, from `own` down by halves, for which all together get blocks; or 1. */
  #affordable(sequences: readonly Sequence[], own: readonly number[]): number {
    for (let bound = Math.max(...own); bound > 1; bound = Math.floor(bound / 2)) {
      const demands = sequences.map(({ id, numComputedTokens }, i) =>
        this.#blocks.extensionDemand(id, numComputedTokens + Math.min(own[i]!, bound))
      );
      if (this.#blocks.canExtend(demands.reduce(addDemands))) return bound;
    }
    return 1;
  }
}

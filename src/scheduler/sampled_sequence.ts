import type { TokenOutput } from "../core/batch.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { EvictedPrefix } from "../core/miss_report.ts";
import type { TokenMatcher } from "../core/token_matcher.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { Demand } from "../kvcache/pool/pool.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";
import type { Report } from "./event_buffer.ts";
import { poolExceeded, poolOutgrown } from "./pool_errors.ts";
import { type Answer, Sequence, type SequenceIdentity } from "./sequence.ts";
import type { OutputSink, SequenceGroup, StepPlan } from "./sequence_group.ts";
import { finishReason } from "./stopping.ts";

/** A sequence that draws its tokens one after the other: a group of one, and its own answer. */
export class SampledSequence extends Sequence implements SequenceGroup, Answer {
  readonly promptIndex: number;
  readonly owner: string | undefined;
  readonly ownerPriority: number;
  readonly requestPriority: number;
  readonly deadlineMs: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly isReheat: boolean;
  readonly members: readonly [SampledSequence];
  readonly numSeats = 1;
  numPreemptions = 0;
  numOutputTokensAtAdmission = 0;
  numCachedTokens = 0;
  evicted?: EvictedPrefix;
  hasReported = false;

  constructor(identity: SequenceIdentity, request: SequenceRequest, matcher?: TokenMatcher) {
    super(identity, request, matcher);
    this.promptIndex = identity.promptIndex ?? identity.index;
    this.owner = identity.owner;
    this.ownerPriority = identity.ownerPriority ?? 0;
    this.requestPriority = identity.requestPriority ?? 0;
    this.deadlineMs = identity.deadlineMs;
    this.timeoutMs = identity.timeoutMs;
    this.isReheat = identity.isReheat ?? false;
    this.members = [this];
  }

  /**
   * Goes on behind tokens that it has drawn and reported in an engine that was lost: it has lost
   * its blocks, as after a preemption, and waits to be computed again.
   *
   * @throws {RequestError} when its grammar does not take them.
   */
  resume(tokens: Uint32Array): void {
    for (const token of tokens) {
      this.append(token);
      const error = this.matcher?.accept(token);
      if (error !== undefined) throw new RequestError(error.message, error);
    }
    this.hasReported = true;
    this.numPreemptions++;
    this.numTokensOnceComputed = this.numTokens - 1;
  }

  /** Whether its next chunk ends before its last token for the sake of a state that is kept. */
  get isCatchingUp(): boolean {
    return this.nextChunkEnd < this.numTokens - 1;
  }

  get drawsFreely(): boolean {
    const { reader, matcher, adjuster } = this;
    return this.numUncomputedTokens === 1 && (reader ?? matcher) === undefined &&
      (adjuster?.isSpent ?? true);
  }

  get maxCachedTokens(): number | undefined {
    return this.reader?.maxCachedTokens;
  }

  get answers(): readonly Answer[] {
    return this.members;
  }

  reservedDemand(): undefined {
    return undefined;
  }

  start(numComputedTokens: number): void {
    this.numComputedTokens = numComputedTokens;
  }

  blockDemand(blocks: BlockManager): Demand {
    return blocks.extensionDemand(this.id, this.numTokens);
  }

  tryExtend(plan: StepPlan, blocks: BlockManager): boolean {
    return blocks.tryExtend(this.id, this.numComputedTokens + plan.countFor(this));
  }

  addTo(plan: StepPlan, blocks: BlockManager): void {
    plan.add(this, this, plan.countFor(this), blocks.blockTables(this.id));
  }

  outOfBlocks(blocks: BlockManager, plan?: StepPlan): ErrorData {
    if (plan === undefined) return poolExceeded(this.numTokens, blocks, blocks.pins);
    return poolOutgrown(this.numComputedTokens + plan.countFor(this), blocks, blocks.pins);
  }

  preempt(): void {
    this.forgetComputed();
  }

  cacheAs(caching: CachingOptions): void {
    this.caching = caching;
  }

  update(_: Sequence, drawn: TokenOutput, sink: OutputSink): void {
    const { token } = drawn;
    this.append(token);
    const reason = finishReason(this, token, sink.maxModelLen);
    const report = this.reader === undefined
      ? reportOf(drawn)
      : { ...reportOf(drawn), ...this.#promptReport() };
    if (reason !== undefined) return sink.end(this, { ...report, finishReason: reason });
    const error = this.matcher?.accept(token);
    if (error === undefined) sink.report(this, this, report);
    else sink.end(this, { ...report, finishReason: "error", error });
  }

  /** Each of its draws stands for itself; one that draws nothing ends with its prompt. */
  endStep(sink: OutputSink): void {
    if (this.params.maxTokens > 0 || this.numComputedTokens < this.numTokens) return;
    sink.end(this, { ...this.#promptReport(), finishReason: "length" });
  }

  /** What was read of the prompt, for the first report. */
  #promptReport(): Pick<Report, "prompt"> {
    if (this.hasReported) return {};
    const prompt = this.reader?.report();
    return prompt === undefined ? {} : { prompt };
  }
}

/** A drawn token as an answer reports it. */
function reportOf({ token, logprob, topLogprobs }: TokenOutput): Report {
  if (logprob === undefined && topLogprobs === undefined) return { token };
  return {
    token,
    ...(logprob === undefined ? {} : { logprob }),
    ...(topLogprobs === undefined ? {} : { topLogprobs }),
  };
}

import type { CurvePoint, EngineCommand, ReplyOf } from "../core/engine_command.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";
import type { RequestId } from "../core/ids.ts";
import type { PinnedPrefixes } from "../kvcache/prefix/pinned_prefixes.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { ElasticPool } from "./elastic_pool.ts";
import type { EngineViews } from "./engine_views.ts";
import { pinPrefix } from "./pin_command.ts";
import type { StepTimes } from "./step_times.ts";
import type { StepTraceCommand } from "./step_trace.ts";
import type { StepTraceWriter } from "./step_trace_writer.ts";

/** The parts of an engine that commands act on. */
export interface CommandParts {
  readonly scheduler: Scheduler;
  readonly views: EngineViews;
  readonly times: StepTimes;
  /** Absent where the runner's memory has one size. */
  readonly pool: ElasticPool | undefined;
  /** The prefix cache's, where there is one. */
  readonly pins: PinnedPrefixes | undefined;
  /** Estimates hit rates at other sizes of KV memory. */
  readonly curve: { estimate(): readonly CurvePoint[] } | undefined;
  readonly stepTrace: StepTraceWriter | undefined;
  /** Ends all sequences of a request. */
  readonly abort: (id: RequestId) => void;
}

/** Carries out what an operator asks of the engine, between two steps. */
export class EngineCommands {
  readonly #parts: CommandParts;

  constructor(parts: CommandParts) {
    this.#parts = parts;
  }

  /** Carries a command out, and returns the reply or the refusal. No step is in flight. */
  async execute(command: EngineCommand): Promise<{ value: unknown } | { error: ErrorData }> {
    const { stepTrace } = this.#parts;
    stepTrace?.tick();
    if (isInStepTrace(command)) stepTrace?.record({ type: "command", command });
    try {
      return { value: await this.#execute(command) };
    } catch (error) {
      if (error instanceof RequestError) return { error: error.data };
      throw error;
    }
  }

  #execute(command: EngineCommand): ReplyOf<EngineCommand> | Promise<ReplyOf<EngineCommand>> {
    const { scheduler, views, pins } = this.#parts;
    switch (command.type) {
      case "reset_prefix_cache":
        return { numPreempted: scheduler.resetPrefixCache(command.preempt) };
      case "pin_prefix":
        return pinPrefix(pins, command, scheduler.shortContextLen);
      case "unpin_prefix":
        return { wasPinned: pins?.remove(command.name) ?? false };
      case "resize_kv":
        return this.#resize(command.numBlocks);
      case "hit_rate_curve":
        return this.#parts.curve?.estimate() ?? [];
      case "check_integrity": {
        scheduler.checkIntegrity();
        const { numBlocks, numFreeBlocks, numCachedBlocks } = scheduler.stats;
        return { numBlocks, numFreeBlocks, numCachedBlocks };
      }
      case "view":
        return views.view(command, this.#parts.times.totals);
      case "read_path":
        return views.readPath(command);
      case "abort_request": {
        const numSequences = scheduler.numSequencesOf(command.requestId);
        if (numSequences > 0) this.#parts.abort(command.requestId);
        return { numSequences };
      }
    }
  }

  #resize(numBlocks: number) {
    const { pool } = this.#parts;
    if (pool !== undefined) return pool.resize(numBlocks);
    throw new RequestError("The KV pool of this engine has one size", { code: "kv_pool_fixed" });
  }
}

/** Whether a command changes plans to come; a resize is recorded where the pool is resized. */
function isInStepTrace(command: EngineCommand): command is StepTraceCommand {
  const { type } = command;
  return type === "reset_prefix_cache" || type === "pin_prefix" || type === "unpin_prefix";
}

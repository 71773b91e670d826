import { NumberedLog } from "../base/numbered_log.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import { LifetimeStats } from "./lifetime_stats.ts";
import type { FromEngine } from "./messages.ts";

/** KV events and decisions that are kept for readers. */
const MAX_LOGGED = 65_536;

/** What is told of the engine over all its lives: counters, KV events and decisions. */
export class LifetimeRecord {
  readonly stats = new LifetimeStats();
  readonly kvEvents: NumberedLog<KvEvent> = new NumberedLog(MAX_LOGGED);
  readonly decisions: NumberedLog<LoggedDecision> = new NumberedLog(MAX_LOGGED);

  /** Takes in what an isolate has posted; returns the steps since, and their tokens. */
  update(
    { stats, kvEvents, decisions }: Extract<FromEngine, { readonly type: "events" }>,
  ): Pick<EngineStats, "numSteps" | "numStepTokens"> {
    const before = this.stats.current;
    this.stats.update(stats);
    this.kvEvents.append(kvEvents ?? []);
    this.decisions.append(decisions ?? []);
    const { numSteps, numStepTokens } = this.stats.current;
    return {
      numSteps: numSteps - before.numSteps,
      numStepTokens: numStepTokens - before.numStepTokens,
    };
  }

  /** An isolate is gone, and its cache with it. */
  endIsolate(): void {
    this.stats.endIsolate();
    if (this.kvEvents.nextSeq > 0) this.kvEvents.append([{ type: "cleared" }]);
  }
}

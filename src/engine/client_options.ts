import type { Clock } from "../base/clock.ts";
import type { EngineInfo } from "../core/engine_config.ts";
import type { EngineStall, EngineState } from "../core/engine_port.ts";
import type { RequestId } from "../core/ids.ts";
import type { RestartPolicy } from "./failure_count.ts";
import type { EngineWorker } from "./isolate_handle.ts";
import type { ReducedPool } from "./reduced_pool.ts";
import type { EngineDeadlines } from "./watchdog.ts";

/** The failure of an isolate and its consequences. */
export interface EngineFailure {
  /** Why it failed, one sentence. */
  readonly reason: string;
  /** The state that it leaves; no other isolate is started after `failed`. */
  readonly state: EngineState;
  /** Requests that were answered with an error. */
  readonly numFailed: number;
  /** Requests that are kept for the next engine. */
  readonly numKept: number;
  /** How much smaller the pool of the next engine is, after the device has run out of memory. */
  readonly reducedPool?: ReducedPool;
  /** Wait before the next start, ms; absent when there is none. */
  readonly pauseMs?: number;
}

/** Options of a client; each has a default. */
export interface EngineClientOptions {
  /** Starts the engine isolate. */
  readonly spawn?: () => EngineWorker;
  /** Deviations from a server's policy. */
  readonly restart?: Partial<RestartPolicy>;
  readonly deadlines?: EngineDeadlines;
  /** Called when a phase of starting begins, also of a restart. */
  readonly onProgress?: (phase: string) => void;
  /** Called when an isolate can serve, the first and each that replaces one that failed. */
  readonly onReady?: (info: EngineInfo) => void;
  /** Called when an isolate has failed, with what becomes of its requests in flight. */
  readonly onFailure?: (failure: EngineFailure) => void;
  /** Called before a request is handed to the isolate, so that low-priority work can give way. */
  readonly onSubmit?: (id: RequestId) => void;
  /** Called when a step takes unusually long, and with undefined once it is over. */
  readonly onStall?: (stall: EngineStall | undefined) => void;
  /** Called when a step has been reported, of so many tokens. */
  readonly onStep?: (numTokens: number) => void;
  readonly clock?: Clock;
}

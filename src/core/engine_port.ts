import type { NumberedLog } from "../base/numbered_log.ts";
import type { EngineCommand, ReplyOf } from "./engine_command.ts";
import type { EngineInfo } from "./engine_config.ts";
import type { EngineStats } from "./engine_stats.ts";
import type { Generation, GenerationRequest } from "./generation.ts";
import type { LoggedDecision } from "./kv_decision.ts";
import type { KvEvent } from "./kv_event.ts";

/** An engine that was lost and is not yet replaced. */
export interface Outage {
  /** Milliseconds since it was lost. */
  readonly elapsedMs: number;
  /** Engines lost in a row, without an answer that was completed in between. */
  readonly numFailures: number;
  /** How many in a row are too many; absent: none are. */
  readonly maxNumFailures?: number;
  /** Milliseconds until another is started; absent while it starts. */
  readonly nextTryMs?: number;
}

/** Where the engine isolate may be in its life. */
export const ENGINE_STATES = ["starting", "ready", "restarting", "draining", "failed"] as const;

/** Where the engine isolate is in its life. */
export type EngineState = (typeof ENGINE_STATES)[number];

/** Why an engine takes no requests, by its state, in a sentence for clients. */
export const UNAVAILABLE: Readonly<Record<Exclude<EngineState, "ready">, string>> = {
  starting: "The engine is starting: the model is being loaded",
  restarting: "The engine is restarting after a failure",
  draining: "The server is shutting down and takes no further requests",
  failed: "The engine has failed and could not be restarted",
};

/** An engine that has something to do, and has not got on with it for unusually long. */
export interface EngineStall {
  /** Since it last got on. */
  readonly seconds: number;
  /** What it is at, and what blocks those that wait, with numbers; or that it answers nothing. */
  readonly reason: string;
}

/** The engine as the rooms of the main isolate see it. */
export interface EnginePort {
  readonly state: EngineState;
  /** Present once the engine has been ready; survives a restart. */
  readonly info: EngineInfo | undefined;
  /** The latest posted statistics; before the first step, those of a free pool. */
  readonly stats: EngineStats;
  /**
   * What the prefix cache stores and drops, the latest events; a step's arrive before its tokens.
   */
  readonly kvEvents: NumberedLog<KvEvent>;
  /** Why sequences waited, were admitted, hit or were preempted, the latest decisions. */
  readonly decisions: NumberedLog<LoggedDecision>;
  /** Why the engine failed or restarts, one sentence. */
  readonly failure: string | undefined;
  /** Present while it has not got on with its work for unusually long. */
  readonly stall: EngineStall | undefined;
  /** Such stalls so far. */
  readonly numStalls: number;
  /** Isolates started so far in place of one that had failed. */
  readonly numRestarts: number;
  /** Present while another engine is to take the place of one that was lost. */
  readonly outage: Outage | undefined;
  /** What is not as it was configured, one sentence; undefined when all is. */
  readonly notice: string | undefined;
  /** Requests handed to the engine that have neither ended nor been refused. */
  readonly numInFlight: number;
  /**
   * Hands a request to the engine and waits until the queue has accepted it.
   *
   * @throws {RequestError} when it can never fit, or the queue is full (429).
   * @throws {EngineUnavailableError} while the engine is not ready.
   */
  submit(request: GenerationRequest): Promise<Generation>;
  /**
   * Sends a command, which the engine carries out between two steps, and waits for the answer.
   *
   * @throws {RequestError} when the engine refuses it. Nothing has changed.
   * @throws {EngineUnavailableError} while the engine is not ready, and when it ends before it
   * answers.
   */
  command<C extends EngineCommand>(command: C): Promise<ReplyOf<C>>;
}

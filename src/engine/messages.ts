import type { EngineCommand } from "../core/engine_command.ts";
import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import type { ErrorData } from "../core/errors.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { Pulse } from "./watchdog.ts";

/** From the main isolate to the engine isolate. */
export type ToEngine =
  | { readonly type: "start"; readonly config: EngineConfig }
  | { readonly type: "submit"; readonly request: GenerationRequest }
  /** Without `index`, every sequence of the request. Unknown ids are ignored: they have ended. */
  | { readonly type: "abort"; readonly id: RequestId; readonly index?: number }
  | { readonly type: "command"; readonly id: number; readonly command: EngineCommand }
  /** Asks for the isolate's pulse, which shows whether it advances. */
  | { readonly type: "ping" }
  /** End after the step in flight and release the device; unfinished sequences are dropped. */
  | { readonly type: "stop" };

/** From the engine isolate to the main isolate. */
export type FromEngine =
  /** A phase of the start begins. */
  | { readonly type: "progress"; readonly phase: string }
  | { readonly type: "ready"; readonly info: EngineInfo }
  /** The reply to each `submit`, before any of its events. */
  | { readonly type: "accepted"; readonly id: RequestId }
  | { readonly type: "refused"; readonly id: RequestId; readonly error: ErrorData }
  /**
   * Said before a step is run to which sequences of these requests have been admitted, for the
   * first time or after a preemption.
   */
  | { readonly type: "admitted"; readonly ids: readonly RequestId[] }
  /** The reply to each `command`: a value, or why it was refused. */
  | {
    readonly type: "reply";
    readonly id: number;
    readonly value?: unknown;
    readonly error?: ErrorData;
  }
  /** One per step, and one after an abort or a command while idle. */
  | {
    readonly type: "events";
    readonly events: readonly TokenEvent[];
    readonly stats: EngineStats;
    /** Events of the prefix cache and decisions since the last of these messages. */
    readonly kvEvents?: readonly KvEvent[];
    readonly decisions?: readonly LoggedDecision[];
  }
  /** The reply to a `ping` once the engine is ready; it comes between two steps. */
  | { readonly type: "pong" } & Pulse
  /** The last words after a `stop`: the device is released. */
  | { readonly type: "stopped" }
  /**
   * The last words of an isolate that ends by itself. `isUsersMistake`: another start would fail as
   * well. `isOutOfMemory`: a smaller pool may do better.
   */
  | {
    readonly type: "failed";
    readonly message: string;
    readonly isUsersMistake: boolean;
    readonly isOutOfMemory?: boolean;
  };

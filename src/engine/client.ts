import { type Clock, systemClock } from "../base/clock.ts";
import { invariant } from "../base/invariant.ts";
import { ReplayLog } from "../base/replay_log.ts";
import type { AnswerOf, EngineCommand } from "../core/engine_command.ts";
import {
  type EngineConfig,
  type EngineInfo,
  type EngineStats,
  withPoolSize,
} from "../core/engine_config.ts";
import { EngineUnavailableError, type ErrorData, StartupError } from "../core/errors.ts";
import type { EnginePort, EngineState, Generation, GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import { InFlightRequests } from "./in_flight_requests.ts";
import { LifetimeStats } from "./lifetime_stats.ts";
import { type EngineWorker, IsolateHandle, spawnEngineWorker } from "./isolate_handle.ts";
import type { FromEngine } from "./messages.ts";
import { PendingCommands } from "./pending_commands.ts";

/** When to start a new isolate after one has died. */
export interface RestartPolicy {
  /** Deaths in a row, without a step in between, after which the engine is given up. */
  readonly maxNumFailures: number;
  /** Wait before the first restart; doubles with each further one. */
  readonly initialDelayMs: number;
}

/** What a client may be given; each has a default. */
export interface EngineClientOptions {
  /** Starts the engine isolate. */
  readonly spawn?: () => EngineWorker;
  readonly restart?: RestartPolicy;
  /** Called when a phase of starting begins, also of a restart. */
  readonly onProgress?: (phase: string) => void;
  /** Called when an isolate can serve, the first and each that replaces a dead one. */
  readonly onReady?: (info: EngineInfo) => void;
  /** Called when an isolate has died, with the reason and the state it leaves. */
  readonly onFailure?: (reason: string, state: EngineState) => void;
  /** Called before a request is handed to the isolate, so that work of no hurry can give way. */
  readonly onSubmit?: (id: RequestId) => void;
  readonly clock?: Clock;
}

/** KV events and decisions that are kept for readers. */
const MAX_LOGGED = 65_536;

/** Time for an isolate to end its step and release its device; a step is far shorter. */
const STOP_DEADLINE_MS = 10_000;

const DEFAULT_RESTART: RestartPolicy = { maxNumFailures: 5, initialDelayMs: 500 };

/**
 * The main isolate's handle on the engine: starts its Worker, streams its events, and starts another
 * when it dies.
 *
 *     start -> starting -> ready <--> restarting -> failed
 *                            '--> draining            (close() leaves this state too)
 *
 * What is in flight when an isolate dies ends with an error: its KV cache is gone with it, and only
 * the caller knows whether a second answer may differ from the first.
 */
export class EngineClient implements EnginePort {
  readonly #options: Required<EngineClientOptions>;
  readonly #stats = new LifetimeStats();
  readonly #requests: InFlightRequests;
  readonly #commands = new PendingCommands();
  readonly kvEvents: ReplayLog<KvEvent> = new ReplayLog(MAX_LOGGED);
  readonly decisions: ReplayLog<LoggedDecision> = new ReplayLog(MAX_LOGGED);
  #config: EngineConfig | undefined;
  #isolate: IsolateHandle | undefined;
  #state: EngineState = "starting";
  #info: EngineInfo | undefined;
  #failure: string | undefined;
  #settleStart: { resolve: (info: EngineInfo) => void; reject: (error: Error) => void } | undefined;
  #numFailures = 0;
  #cancelRestart: () => void = () => {};

  constructor(options: EngineClientOptions = {}) {
    this.#options = {
      spawn: spawnEngineWorker,
      restart: DEFAULT_RESTART,
      onProgress: () => {},
      onReady: () => {},
      onFailure: () => {},
      onSubmit: () => {},
      clock: systemClock,
      ...options,
    };
    this.#requests = new InFlightRequests((id, index) =>
      this.#isolate?.post({ type: "abort", id, ...(index === undefined ? {} : { index }) })
    );
  }

  get state(): EngineState {
    return this.#state;
  }

  get info(): EngineInfo | undefined {
    return this.#info;
  }

  get stats(): EngineStats {
    return this.#stats.current;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  get numInFlight(): number {
    return this.#requests.size;
  }

  /**
   * Starts the engine and waits until it can serve; call it once.
   *
   * @throws {StartupError} when the user can put right what went wrong. Any failure of the first
   * start is final: the state is `failed`.
   */
  start(config: EngineConfig): Promise<EngineInfo> {
    invariant(this.#config === undefined, "the engine is started twice");
    this.#config = config;
    return new Promise((resolve, reject) => {
      this.#settleStart = { resolve, reject };
      this.#startIsolate(config);
    });
  }

  async submit(request: GenerationRequest): Promise<Generation> {
    if (this.#state !== "ready") throw new EngineUnavailableError(UNAVAILABLE[this.#state]);
    this.#options.onSubmit(request.id);
    const generation = this.#requests.open(request);
    this.#isolate!.post({ type: "submit", request });
    return await generation;
  }

  async command<C extends EngineCommand>(command: C): Promise<AnswerOf<C>> {
    if (this.#state !== "ready") throw new EngineUnavailableError(UNAVAILABLE[this.#state]);
    const { id, answer } = this.#commands.open();
    this.#isolate!.post({ type: "command", id, command });
    return await answer as AnswerOf<C>;
  }

  /**
   * Stops gracefully: refuses what is new, waits at most `deadlineMs` for what streams, and has the isolate
   * release its device.
   *
   * Its Worker stays, doing nothing, until `close` or the end of the process: a thread that is being torn
   * down while the process exits may crash it (seen with the software adapter, whose threads outlive the
   * device: one exit in twenty).
   */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#state !== "failed") this.#state = "draining";
    let cancelDeadline = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancelDeadline = this.#options.clock.after(deadlineMs, resolve);
    });
    await Promise.race([this.#requests.whenEmpty(), deadline]);
    cancelDeadline();
    this.#dropAll();
    await this.#isolate?.stop(STOP_DEADLINE_MS, this.#options.clock);
  }

  /** Ends the isolate at once; what is in flight ends with an error. Idempotent. */
  close(): void {
    if (this.#state !== "failed") this.#state = "draining";
    this.#dropAll();
    this.#endIsolate();
  }

  /** Ends whatever somebody waits for. */
  #dropAll(): void {
    this.#cancelRestart();
    this.#requests.failAll(unavailable("The server has shut down before the answer was complete"));
    this.#commands.failAll("The server has shut down before the command was carried out");
    this.#settleStart?.reject(new Error("The engine was closed while it started"));
    this.#settleStart = undefined;
  }

  #startIsolate(config: EngineConfig): void {
    this.#isolate = new IsolateHandle(this.#options.spawn(), {
      onMessage: (message) => this.#receive(message),
      onCrash: (reason) => {
        this.#endIsolate();
        this.#onIsolateDeath(reason, false);
      },
    });
    this.#isolate.post({ type: "start", config });
  }

  #endIsolate(): void {
    this.#isolate?.end();
    this.#isolate = undefined;
    this.#stats.endIsolate();
    // The cache is gone with its isolate.
    if (this.kvEvents.nextSeq > 0) this.kvEvents.append([{ type: "cleared" }]);
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case "progress":
        return this.#options.onProgress(message.phase);
      case "ready":
        return this.#onReady(message.info);
      case "accepted":
        return this.#requests.accept(message.id);
      case "refused":
        return this.#requests.refuse(message.id, message.error);
      case "answer":
        return this.#commands.settle(message.id, message.value, message.error);
      case "events":
        this.#numFailures = 0;
        this.#stats.update(message.stats);
        this.#info = this.#info && withPoolSize(this.#info, message.stats.numBlocks);
        // Before the tokens they explain.
        this.kvEvents.append(message.kvEvents ?? []);
        this.decisions.append(message.decisions ?? []);
        return this.#requests.deliver(message.events);
      case "failed":
        // No other is started then and the process may end at once: its Worker stays, as after `drain`.
        if (this.#settleStart === undefined && this.#state !== "draining") this.#endIsolate();
        return this.#onIsolateDeath(message.message, message.atStart);
      case "stopped":
        return;
    }
  }

  #onReady(info: EngineInfo): void {
    this.#info = info;
    if (this.#state !== "draining") this.#state = "ready";
    this.#failure = undefined;
    this.#settleStart?.resolve(info);
    this.#settleStart = undefined;
    if (this.#state === "ready") this.#options.onReady(info);
  }

  /** `isUsersMistake`: another start would fail in the same way. */
  #onIsolateDeath(reason: string, isUsersMistake: boolean): void {
    this.#failure = reason;
    this.#numFailures++;
    const settleStart = this.#settleStart;
    this.#settleStart = undefined;
    if (this.#state !== "draining") {
      const isFinal = isUsersMistake || settleStart !== undefined ||
        this.#numFailures >= this.#options.restart.maxNumFailures;
      this.#state = isFinal ? "failed" : "restarting";
    }
    this.#requests.failAll(ISOLATE_DIED);
    this.#commands.failAll("The engine stopped before it answered the command");
    settleStart?.reject(isUsersMistake ? new StartupError(reason) : new Error(reason));
    if (this.#state === "restarting") this.#scheduleRestart();
    this.#options.onFailure(reason, this.#state);
  }

  #scheduleRestart(): void {
    const delayMs = this.#options.restart.initialDelayMs * 2 ** (this.#numFailures - 1);
    const cancel = this.#options.clock.after(delayMs, () => this.#startIsolate(this.#config!));
    this.#cancelRestart = cancel;
  }
}

const UNAVAILABLE: Readonly<Record<Exclude<EngineState, "ready">, string>> = {
  starting: "The engine is still starting",
  restarting: "The engine has stopped and is being restarted",
  draining: "The server is shutting down",
  failed: "The engine has stopped and could not be restarted",
};

const ISOLATE_DIED = unavailable("The engine stopped while it worked on this request; try again");

function unavailable(message: string): ErrorData {
  return { status: 503, type: "server_error", code: "engine_unavailable", message, param: null };
}

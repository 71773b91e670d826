import { systemClock } from "../base/clock.ts";
import { invariant } from "../base/invariant.ts";
import { ReplayLog } from "../base/replay_log.ts";
import type { AnswerOf, EngineCommand } from "../core/engine_command.ts";
import { type EngineConfig, type EngineInfo, withPoolSize } from "../core/engine_config.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import { engineUnavailable, EngineUnavailableError, StartupError } from "../core/errors.ts";
import {
  type EnginePort,
  type EngineStall,
  type EngineState,
  type Generation,
  type GenerationRequest,
  UNAVAILABLE,
} from "../core/generation.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { EngineClientOptions } from "./client_options.ts";
import { spawnEngineThread } from "./engine_thread.ts";
import { DEFAULT_RESTART, FailureCount } from "./failure_count.ts";
import { InFlightRequests } from "./in_flight_requests.ts";
import { LifetimeStats } from "./lifetime_stats.ts";
import { IsolateHandle } from "./isolate_handle.ts";
import type { FromEngine } from "./messages.ts";
import { PendingCommands } from "./pending_commands.ts";
import { ISOLATE_DIED } from "./unavailable.ts";
import { DEFAULT_DEADLINES, stepDeadlineMs, Watchdog } from "./watchdog.ts";

/** KV events and decisions that are kept for readers. */
const MAX_LOGGED = 65_536;

/** Time for an isolate to end its step and release its device; a step is far shorter. */
const STOP_DEADLINE_MS = 10_000;

/**
 * As many threads that cannot be ended, in a loop or a driver's call, are the end: no other starts.
 */
const MAX_STUCK_THREADS = 2;

/**
 * The main isolate's handle on the engine: starts its thread, streams its events, and starts
 * another when it dies or hangs.
 *
 *     start -> starting -> ready <--> restarting -> failed
 *                            '--> draining            (close() leaves this state too)
 *
 * Requests in flight when an isolate dies end with an error: its KV cache is gone with it, and only
 * the caller knows whether a second answer may differ from the first. `failed` is final: after too
 * many deaths in a row, or with too many threads that cannot be ended, only another process helps.
 */
export class EngineClient implements EnginePort {
  readonly #options: Required<Omit<EngineClientOptions, "restart">>;
  readonly #failures: FailureCount;
  readonly #watchdog: Watchdog;
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
  #numRestarts = 0;
  #numStalls = 0;
  /** Steps of the current isolate. */
  #numSteps = 0;
  /** Isolates that were told to end and whose threads may still run. */
  #ending: IsolateHandle[] = [];
  #cancelRestart: () => void = () => {};

  constructor({ restart, ...options }: EngineClientOptions = {}) {
    this.#options = {
      spawn: spawnEngineThread,
      deadlines: DEFAULT_DEADLINES,
      onProgress: () => {},
      onReady: () => {},
      onFailure: () => {},
      onSubmit: () => {},
      onStep: () => {},
      onStall: () => {},
      clock: systemClock,
      ...options,
    };
    const { clock } = this.#options;
    this.#failures = new FailureCount({ ...DEFAULT_RESTART, ...restart }, clock);
    this.#watchdog = new Watchdog({
      clock,
      ping: () => this.#isolate?.post({ type: "ping" }),
      onSilence: (reason) => this.#onCrash(reason),
      onStall: (stall) => {
        if (stall !== undefined) this.#numStalls++;
        this.#options.onStall(stall);
      },
    });
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

  get numRestarts(): number {
    return this.#numRestarts;
  }

  get stall(): EngineStall | undefined {
    return this.#watchdog.stall;
  }

  get numStalls(): number {
    return this.#numStalls;
  }

  get numInFlight(): number {
    return this.#requests.size;
  }

  /**
   * Starts the engine and waits until it can serve; call it once.
   *
   * @throws {StartupError} for a mistake that the user can put right. Any failure of the first
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
   * Stops gracefully: refuses new requests, waits at most `deadlineMs` for those in flight, and has
   * the isolate release its device.
   *
   * Its Worker stays, doing nothing, until `close` or the end of the process: a thread that is
   * being torn down while the process exits may crash it (seen with the software adapter, whose
   * threads outlive the device: one exit in twenty).
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

  /** Ends the isolate at once; requests in flight end with an error. Idempotent. */
  close(): void {
    if (this.#state !== "failed") this.#state = "draining";
    this.#dropAll();
    this.#endIsolate();
  }

  /** Ends everything that callers wait for: the start, requests and commands. */
  #dropAll(): void {
    this.#cancelRestart();
    this.#watchdog.cancel();
    this.#requests.failAll(
      engineUnavailable("The server has shut down before the answer was complete"),
    );
    this.#commands.failAll("The server has shut down before the command was carried out");
    this.#settleStart?.reject(new EngineUnavailableError("The engine was closed while it started"));
    this.#settleStart = undefined;
  }

  #startIsolate(config: EngineConfig): void {
    this.#isolate = new IsolateHandle(this.#options.spawn(), {
      onMessage: (message) => this.#receive(message),
      onCrash: (reason) => this.#onCrash(reason),
    });
    this.#watchdog.watchStart(this.#options.deadlines.startMs);
    this.#isolate.post({ type: "start", config });
  }

  #onCrash(reason: string): void {
    this.#endIsolate();
    this.#onIsolateDeath(reason, false);
  }

  #endIsolate(): void {
    if (this.#isolate !== undefined) this.#ending.push(this.#isolate);
    this.#isolate?.end();
    this.#isolate = undefined;
    this.#stats.endIsolate();
    // The cache is gone with its isolate.
    if (this.kvEvents.nextSeq > 0) this.kvEvents.append([{ type: "cleared" }]);
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case "progress":
        if (this.#state !== "draining") this.#watchdog.watchStart(this.#options.deadlines.startMs);
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
        if (message.stats.numSteps > this.#numSteps) this.#failures.stepped();
        this.#numSteps = message.stats.numSteps;
        this.#updateStats(message.stats);
        this.#info = this.#info && withPoolSize(this.#info, message.stats.numBlocks);
        // Before the tokens they explain.
        this.kvEvents.append(message.kvEvents ?? []);
        this.decisions.append(message.decisions ?? []);
        return this.#requests.deliver(message.events);
      case "failed":
        // No other is started then and the process may end at once: its Worker stays, as after
        // `drain`.
        if (this.#settleStart === undefined && this.#state !== "draining") this.#endIsolate();
        return this.#onIsolateDeath(message.message, message.atStart);
      case "pong":
        return this.#watchdog.hear(message);
      case "stopped":
        return;
    }
  }

  #updateStats(posted: EngineStats): void {
    const { numSteps, numStepTokens } = this.#stats.current;
    this.#stats.update(posted);
    const { current } = this.#stats;
    if (current.numSteps > numSteps) this.#options.onStep(current.numStepTokens - numStepTokens);
  }

  #onReady(info: EngineInfo): void {
    this.#info = info;
    this.#stats.beginIsolate(info.numBlocks);
    this.#failure = undefined;
    this.#settleStart?.resolve(info);
    this.#settleStart = undefined;
    if (this.#state === "draining") return;
    this.#state = "ready";
    this.#numSteps = 0;
    this.#failures.ready();
    this.#watchdog.watchSteps(this.#options.deadlines.stepMs ?? stepDeadlineMs(info));
    this.#options.onReady(info);
  }

  /** `isUsersMistake`: another start would fail in the same way. */
  #onIsolateDeath(reason: string, isUsersMistake: boolean): void {
    this.#watchdog.cancel();
    this.#failure = reason;
    this.#failures.failed();
    const settleStart = this.#settleStart;
    this.#settleStart = undefined;
    if (this.#state !== "draining") {
      const isHopeless = isUsersMistake && this.#failures.canGiveUp;
      const isFinal = settleStart !== undefined || isHopeless || this.#failures.isTooMany;
      this.#state = isFinal ? "failed" : "restarting";
    }
    const numRequests = this.#requests.size;
    this.#requests.failAll(ISOLATE_DIED);
    this.#commands.failAll("The engine stopped before it answered the command");
    settleStart?.reject(
      isUsersMistake
        ? new StartupError(reason)
        : new EngineUnavailableError(`The engine could not be started: ${reason}`),
    );
    const pause = this.#state === "restarting" ? { pauseMs: this.#scheduleRestart() } : {};
    this.#options.onFailure({ reason, state: this.#state, numRequests, ...pause });
  }

  /** Returns the wait before the restart, ms. */
  #scheduleRestart(): number {
    const { pauseMs } = this.#failures;
    this.#cancelRestart = this.#options.clock.after(pauseMs, () => this.#restart());
    return pauseMs;
  }

  /** Starts another isolate, unless threads of those before hold the machine. */
  #restart(): void {
    this.#ending = this.#ending.filter(({ isGone }) => !isGone);
    const numStuck = this.#ending.length;
    if (numStuck >= MAX_STUCK_THREADS && this.#failures.canGiveUp) {
      const reason = `${numStuck} threads of the engine hang and cannot be ended: ${this.#failure}`;
      this.#state = "failed";
      this.#failure = reason;
      return this.#options.onFailure({ reason, state: "failed", numRequests: 0 });
    }
    this.#numRestarts++;
    this.#startIsolate(this.#config!);
  }
}

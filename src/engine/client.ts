import { systemClock } from "../base/clock.ts";
import { invariant } from "../base/invariant.ts";
import type { ReplayLog } from "../base/replay_log.ts";
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
  type Outage,
  UNAVAILABLE,
} from "../core/generation.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { EngineClientOptions } from "./client_options.ts";
import { spawnEngineThread } from "./engine_thread.ts";
import { DEFAULT_RESTART } from "./failure_count.ts";
import { InFlightRequests, type LostRequests } from "./in_flight_requests.ts";
import { LifetimeRecord } from "./lifetime_record.ts";
import { type Crash, IsolateHandle } from "./isolate_handle.ts";
import type { FromEngine } from "./messages.ts";
import { PendingCommands } from "./pending_commands.ts";
import { StartConfig } from "./pool_cut.ts";
import { Restarts } from "./restarts.ts";
import { givenUp, HANGS, ISOLATE_DIED } from "./unavailable.ts";
import { DEFAULT_DEADLINES, stepDeadlineMs, Watchdog } from "./watchdog.ts";

/** Time for an isolate to end its step and release its device; a step is far shorter. */
const STOP_DEADLINE_MS = 10_000;

/**
 * The main isolate's handle on the engine: starts its thread, streams its events, and starts
 * another when it dies or hangs.
 *
 *     start -> starting -> ready <--> restarting -> failed
 *                            '--> draining            (close() leaves this state too)
 *
 * Requests in flight when an isolate dies are kept, and handed to the next with the tokens that
 * they have reported: their streams go on where they stopped. `failed` is final: after too many
 * deaths in a row, or with too many threads that cannot be ended, only another process helps.
 */
export class EngineClient implements EnginePort {
  readonly #options: Required<Omit<EngineClientOptions, "restart">>;
  readonly #restarts: Restarts;
  readonly #watchdog: Watchdog;
  readonly #record = new LifetimeRecord();
  readonly #requests: InFlightRequests;
  readonly #commands = new PendingCommands();
  #config: StartConfig | undefined;
  #isolate: IsolateHandle | undefined;
  #state: EngineState = "starting";
  #info: EngineInfo | undefined;
  #failure: string | undefined;
  #settleStart: { resolve: (info: EngineInfo) => void; reject: (error: Error) => void } | undefined;
  #numStalls = 0;

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
    this.#restarts = new Restarts({ ...DEFAULT_RESTART, ...restart }, clock);
    this.#watchdog = new Watchdog({
      clock,
      ping: () => this.#isolate?.post({ type: "ping" }),
      onSilence: (reason) => this.#onCrash({ reason, isHung: true }),
      onStall: (stall) => {
        if (stall !== undefined) this.#numStalls++;
        this.#options.onStall(stall);
      },
    });
    this.#requests = new InFlightRequests({
      clock,
      submit: (request) => {
        if (request.resumed !== undefined) this.#record.stats.count("numReplayedRequests");
        this.#isolate!.post({ type: "submit", request });
      },
      abort: (id, index) =>
        this.#isolate?.post({ type: "abort", id, ...(index === undefined ? {} : { index }) }),
      onTimeout: () => this.#record.stats.count("numTimeouts"),
    });
  }

  get state(): EngineState {
    return this.#state;
  }

  get info(): EngineInfo | undefined {
    return this.#info;
  }

  get stats(): EngineStats {
    const { current } = this.#record.stats;
    const { numSequencesHeld } = this.#requests;
    if (numSequencesHeld === 0) return current;
    return { ...current, numWaiting: current.numWaiting + numSequencesHeld };
  }

  get kvEvents(): ReplayLog<KvEvent> {
    return this.#record.kvEvents;
  }

  get decisions(): ReplayLog<LoggedDecision> {
    return this.#record.decisions;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  get numRestarts(): number {
    return this.#restarts.numRestarts;
  }

  get outage(): Outage | undefined {
    return this.#state === "restarting" ? this.#restarts.outage : undefined;
  }

  get notice(): string | undefined {
    return this.#config?.notice;
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
    this.#config = new StartConfig(config);
    return new Promise((resolve, reject) => {
      this.#settleStart = { resolve, reject };
      this.#startIsolate(config);
    });
  }

  async submit(request: GenerationRequest): Promise<Generation> {
    if (this.#state !== "ready") throw new EngineUnavailableError(UNAVAILABLE[this.#state]);
    this.#options.onSubmit(request.id);
    return await this.#requests.open(request);
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
    this.#restarts.cancel();
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
      onCrash: (crash) => this.#onCrash(crash),
    });
    this.#watchdog.watchStart(this.#options.deadlines.startMs);
    this.#isolate.post({ type: "start", config });
  }

  #onCrash(crash: Crash): void {
    this.#endIsolate();
    this.#onIsolateDeath({ ...crash, isUsersMistake: false });
  }

  #endIsolate(): void {
    if (this.#isolate !== undefined) this.#restarts.retire(this.#isolate);
    this.#isolate?.end();
    this.#isolate = undefined;
    this.#record.endIsolate();
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
      case "begun":
        return this.#requests.begin(message.ids);
      case "answer":
        return this.#commands.settle(message.id, message.value, message.error);
      case "events":
        return this.#onEvents(message);
      case "failed":
        // No other is started then and the process may end at once: its Worker stays, as after
        // `drain`.
        if (this.#settleStart === undefined && this.#state !== "draining") this.#endIsolate();
        return this.#onIsolateDeath({
          reason: message.message,
          isUsersMistake: message.atStart,
          isOutOfMemory: message.isOutOfMemory ?? false,
        });
      case "pong":
        return this.#watchdog.hear(message);
      case "stopped":
        return;
    }
  }

  #onEvents(message: Extract<FromEngine, { readonly type: "events" }>): void {
    // Before the tokens that the records explain.
    const { numSteps, numStepTokens } = this.#record.update(message);
    if (numSteps > 0) {
      this.#restarts.stepped();
      this.#options.onStep(numStepTokens);
    }
    if (message.events.some(completesAnswer)) this.#restarts.answered();
    this.#info = this.#info && withPoolSize(this.#info, message.stats.numBlocks);
    this.#requests.deliver(message.events);
  }

  #onReady(info: EngineInfo): void {
    this.#info = info;
    this.#record.stats.beginIsolate(info.numBlocks);
    this.#failure = undefined;
    this.#settleStart?.resolve(info);
    this.#settleStart = undefined;
    this.#restarts.ready();
    if (this.#state !== "draining") {
      this.#state = "ready";
      this.#watchdog.watchSteps(this.#options.deadlines.stepMs ?? stepDeadlineMs(info));
    }
    this.#requests.connect();
    if (this.#state === "ready") this.#options.onReady(info);
  }

  #onIsolateDeath({ reason, isUsersMistake, isOutOfMemory, isHung = false }: Death): void {
    this.#watchdog.cancel();
    this.#failure = reason;
    if (this.#state === "ready") this.#record.stats.count("numLosses");
    const isTheEnd = this.#restarts.failed(isUsersMistake);
    const settleStart = this.#settleStart;
    this.#settleStart = undefined;
    if (this.#state !== "draining") {
      this.#state = settleStart !== undefined || isTheEnd ? "failed" : "restarting";
    }
    const isCut = isOutOfMemory === true && this.#state === "restarting";
    const cut = isCut && this.#info ? { poolCut: this.#config!.cutPool(this.#info) } : {};
    const lost = this.#loseRequests(reason);
    settleStart?.reject(
      isUsersMistake
        ? new StartupError(reason)
        : new EngineUnavailableError(`The engine could not be started: ${reason}`),
    );
    const pause = this.#state === "restarting" ? { pauseMs: this.#scheduleRestart(isHung) } : {};
    this.#options.onFailure({ reason, state: this.#state, ...lost, ...cut, ...pause });
  }

  /** Requests are kept where another isolate is to come. */
  #loseRequests(reason: string): LostRequests {
    this.#commands.failAll("The engine stopped before it answered the command");
    if (this.#state === "restarting") return this.#requests.disconnect(ISOLATE_DIED);
    const numFailed = this.#requests.size;
    this.#requests.failAll(this.#state === "failed" ? givenUp(reason) : ISOLATE_DIED);
    return { numKept: 0, numFailed };
  }

  /** Returns the wait before the restart, ms. */
  #scheduleRestart(isHung: boolean): number {
    return this.#restarts.schedule({
      start: (isStuck) => {
        // Another such thread would be the end.
        if (isHung && isStuck) this.#requests.dropStalled(HANGS);
        this.#startIsolate(this.#config!.current);
      },
      giveUp: (numStuck) => {
        const reason = `${numStuck} threads of the engine hang and cannot be ended: ` +
          this.#failure;
        this.#state = "failed";
        this.#failure = reason;
        this.#options.onFailure({ reason, state: "failed", ...this.#loseRequests(reason) });
      },
    });
  }
}

/** Why an isolate has died. */
interface Death extends Crash {
  /** Another start would fail in the same way. */
  readonly isUsersMistake: boolean;
}

function completesAnswer({ finishReason }: TokenEvent): boolean {
  return finishReason === "stop" || finishReason === "length";
}

import type { Clock } from "../base/clock.ts";
import { invariant } from "../base/invariant.ts";
import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import type { EngineStall, EngineState, Outage } from "../core/engine_port.ts";
import { EngineUnavailableError, StartupError } from "../core/errors.ts";
import type { EngineClientOptions, EngineFailure } from "./client_options.ts";
import { DEFAULT_RESTART } from "./failure_count.ts";
import type { LostRequests } from "./in_flight_requests.ts";
import { type Crash, IsolateHandle } from "./isolate_handle.ts";
import type { FromEngine, ToEngine } from "./messages.ts";
import { Restarts } from "./restarts.ts";
import { StartConfig } from "./start_config.ts";
import { stepDeadlineMs, Watchdog } from "./watchdog.ts";

/** Time for an isolate to end its step and release its device; a step is far shorter. */
const STOP_DEADLINE_MS = 10_000;

/** Of an isolate's messages those about its work, and not about its life. */
export type WorkMessage = Exclude<
  FromEngine,
  { readonly type: "progress" | "ready" | "failed" | "pong" | "stopped" }
>;

/** What becomes of an engine. */
export interface LivesListener {
  readonly onMessage: (message: WorkMessage) => void;
  /** An isolate can serve: the first, or one that takes the place of another. */
  readonly onReady: (info: EngineInfo) => void;
  /**
   * The isolate has failed; the state says what is to come. Returns what becomes of its requests.
   */
  readonly onFailure: (reason: string, wasReady: boolean) => LostRequests;
  /** Another is about to start, and the one before hangs in a thread that cannot be ended. */
  readonly onStuck: () => void;
  /** An isolate is told to end; nothing more is heard of it. */
  readonly onEnd: () => void;
  /** What the latest isolate said of itself, with the size that its pool has now. */
  readonly info: () => EngineInfo | undefined;
}

/** What lives are made with; the clock and the deadlines are the client's. */
export type LivesOptions =
  & Required<
    Pick<EngineClientOptions, "spawn" | "deadlines" | "onProgress" | "onFailure" | "onStall">
  >
  & Pick<EngineClientOptions, "restart">
  & { readonly clock: Clock };

/** How an isolate has failed, by itself or in its own words. */
interface Failure extends Crash {
  /** Another start would fail in the same way. */
  readonly isUsersMistake: boolean;
}

/**
 * The lives of the engine: starts an isolate, watches over it, and starts another when it fails
 * or hangs.
 *
 *     start -> starting -> ready <--> restarting -> failed
 *                            '--> draining            (the end leaves this state too)
 *
 * `failed` is final: after too many failures in a row, or with too many threads that cannot be
 * ended, only another process helps.
 */
export class EngineLives {
  readonly #options: LivesOptions;
  readonly #listener: LivesListener;
  readonly #restarts: Restarts;
  readonly #watchdog: Watchdog;
  #config: StartConfig | undefined;
  #isolate: IsolateHandle | undefined;
  /** Whether that one has been ready. */
  #hasServed = false;
  #state: EngineState = "starting";
  #failure: string | undefined;
  #settleStart: { resolve: (info: EngineInfo) => void; reject: (error: Error) => void } | undefined;
  #numStalls = 0;

  constructor(options: LivesOptions, listener: LivesListener) {
    this.#options = options;
    this.#listener = listener;
    const { clock, restart } = options;
    this.#restarts = new Restarts({ ...DEFAULT_RESTART, ...restart }, clock);
    this.#watchdog = new Watchdog({
      clock,
      ping: () => this.post({ type: "ping" }),
      onHang: (reason) => this.#onCrash({ reason, isHung: true }),
      onStall: (stall) => {
        if (stall !== undefined) this.#numStalls++;
        options.onStall(stall);
      },
    });
  }

  get state(): EngineState {
    return this.#state;
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

  /** Starts the first isolate and waits until it can serve; as of {@link EngineClient.start}. */
  start(config: EngineConfig): Promise<EngineInfo> {
    invariant(this.#config === undefined, "the engine is started twice");
    this.#config = new StartConfig(config);
    return new Promise((resolve, reject) => {
      this.#settleStart = { resolve, reject };
      this.#startIsolate(config);
    });
  }

  /** Sends the isolate a message, if there is one. */
  post(message: ToEngine): void {
    this.#isolate?.post(message);
  }

  /** The isolate has made steps. */
  stepped(): void {
    this.#restarts.stepped();
  }

  /** It has completed an answer. */
  answered(): void {
    this.#restarts.answered();
  }

  /** The engine takes nothing new from now on, and an isolate that fails is the last. */
  beginDrain(): void {
    if (this.#state !== "failed") this.#state = "draining";
  }

  /** No other isolate is started, and none is watched over. */
  cancel(): void {
    this.#restarts.cancel();
    this.#watchdog.cancel();
    this.#settleStart?.reject(new EngineUnavailableError("The engine was closed while it started"));
    this.#settleStart = undefined;
  }

  /**
   * Has the isolate release its device; its thread stays. One that still starts is not waited for:
   * it may be in a driver's call for long, and no request is lost with it.
   */
  async stop(): Promise<void> {
    if (this.#hasServed) await this.#isolate?.stop(STOP_DEADLINE_MS, this.#options.clock);
    else this.post({ type: "stop" });
  }

  /** Ends the isolate at once. Idempotent. */
  end(): void {
    if (this.#isolate !== undefined) this.#restarts.retire(this.#isolate);
    this.#isolate?.end();
    this.#isolate = undefined;
    this.#listener.onEnd();
  }

  #startIsolate(config: EngineConfig): void {
    this.#isolate = new IsolateHandle(this.#options.spawn(), {
      onMessage: (message) => this.#receive(message),
      onCrash: (crash) => this.#onCrash(crash),
    });
    this.#hasServed = false;
    this.#watchdog.watchStart(this.#options.deadlines.startMs);
    this.#isolate.post({ type: "start", config });
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case "progress":
        if (this.#state !== "draining") this.#watchdog.watchStart(this.#options.deadlines.startMs);
        return this.#options.onProgress(message.phase);
      case "ready":
        return this.#onReady(message.info);
      case "failed":
        // No other is started then and the process may end at once: its Worker stays, as after
        // `stop`.
        if (this.#settleStart === undefined && this.#state !== "draining") this.end();
        return this.#onFailure({
          reason: message.message,
          isUsersMistake: message.isUsersMistake,
          isOutOfMemory: message.isOutOfMemory ?? false,
        });
      case "pong":
        return this.#watchdog.hear(message);
      case "stopped":
        return;
      default:
        return this.#listener.onMessage(message);
    }
  }

  #onReady(info: EngineInfo): void {
    this.#failure = undefined;
    this.#hasServed = true;
    this.#settleStart?.resolve(info);
    this.#settleStart = undefined;
    this.#restarts.ready();
    if (this.#state !== "draining") {
      this.#state = "ready";
      this.#watchdog.watchSteps(this.#options.deadlines.stepMs ?? stepDeadlineMs(info));
    }
    this.#listener.onReady(info);
  }

  #onCrash(crash: Crash): void {
    this.end();
    this.#onFailure({ ...crash, isUsersMistake: false });
  }

  #onFailure({ reason, isUsersMistake, isOutOfMemory = false, isHung = false }: Failure): void {
    this.#watchdog.cancel();
    this.#failure = reason;
    const wasReady = this.#state === "ready";
    const isTheEnd = this.#restarts.failed(isUsersMistake);
    const settleStart = this.#settleStart;
    this.#settleStart = undefined;
    if (this.#state !== "draining") {
      this.#state = settleStart !== undefined || isTheEnd ? "failed" : "restarting";
    }
    const lost = this.#listener.onFailure(reason, wasReady);
    settleStart?.reject(
      isUsersMistake
        ? new StartupError(reason)
        : new EngineUnavailableError(`The engine could not be started: ${reason}`),
    );
    const next = this.#state === "restarting" ? this.#scheduleRestart(isHung, isOutOfMemory) : {};
    this.#options.onFailure({ reason, state: this.#state, ...lost, ...next });
  }

  /** Has another isolate started, with a smaller pool where memory has run out. */
  #scheduleRestart(
    isHung: boolean,
    isOutOfMemory: boolean,
  ): Pick<EngineFailure, "reducedPool" | "pauseMs"> {
    const info = this.#listener.info();
    const smaller = isOutOfMemory && info !== undefined
      ? { reducedPool: this.#config!.reducePool(info) }
      : {};
    const pauseMs = this.#restarts.schedule({
      isHung,
      start: (isStuck) => {
        if (isHung && isStuck) this.#listener.onStuck();
        this.#startIsolate(this.#config!.current);
      },
      giveUp: (numStuck) => {
        this.#state = "failed";
        const reason = `${numStuck} threads of the engine hang and cannot be ended: ` +
          this.#failure;
        this.#failure = reason;
        const lost = this.#listener.onFailure(reason, false);
        this.#options.onFailure({ reason, state: "failed", ...lost });
      },
    });
    return { ...smaller, pauseMs };
  }
}

import { systemClock } from "../base/clock.ts";
import type { NumberedLog } from "../base/numbered_log.ts";
import type { EngineCommand, ReplyOf } from "../core/engine_command.ts";
import { type EngineConfig, type EngineInfo, withPoolSize } from "../core/engine_config.ts";
import {
  type EnginePort,
  type EngineStall,
  type EngineState,
  type Outage,
  UNAVAILABLE,
} from "../core/engine_port.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import { engineUnavailable, EngineUnavailableError } from "../core/errors.ts";
import type { Generation, GenerationRequest } from "../core/generation.ts";
import type { LoggedDecision } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { EngineClientOptions } from "./client_options.ts";
import { EngineLives, type WorkMessage } from "./engine_lives.ts";
import { spawnEngineThread } from "./engine_thread.ts";
import { InFlightRequests, type LostRequests } from "./in_flight_requests.ts";
import { LifetimeRecord } from "./lifetime_record.ts";
import { ENGINE_FAILED, givenUp, HANGS } from "./loss_errors.ts";
import { PendingCommands } from "./pending_commands.ts";
import { DEFAULT_DEADLINES } from "./watchdog.ts";

/**
 * The main isolate's handle on the engine: streams its events over all its lives
 * ({@link EngineLives}).
 *
 * Requests in flight when an isolate fails are kept, and handed to the next with the tokens that
 * they have reported: their streams go on where they stopped.
 */
export class EngineClient implements EnginePort {
  readonly #options: Required<Omit<EngineClientOptions, "restart">>;
  readonly #lives: EngineLives;
  readonly #record = new LifetimeRecord();
  readonly #requests: InFlightRequests;
  readonly #commands = new PendingCommands();
  #info: EngineInfo | undefined;

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
    const restarts = restart === undefined ? {} : { restart };
    this.#lives = new EngineLives({ ...this.#options, ...restarts }, {
      onMessage: (message) => this.#receive(message),
      onReady: (info) => this.#onReady(info),
      onFailure: (reason, wasReady) => this.#onFailure(reason, wasReady),
      onStuck: () => this.#requests.dropUnanswered(HANGS),
      onEnd: () => this.#record.endIsolate(),
      info: () => this.#info,
    });
    this.#requests = new InFlightRequests({
      clock: this.#options.clock,
      submit: (request) => {
        if (request.resumed !== undefined) this.#record.stats.count("numResumedRequests");
        this.#lives.post({ type: "submit", request });
      },
      abort: (id, index) =>
        this.#lives.post({ type: "abort", id, ...(index === undefined ? {} : { index }) }),
      onTimeout: () => this.#record.stats.count("numTimeouts"),
    });
  }

  get state(): EngineState {
    return this.#lives.state;
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

  get kvEvents(): NumberedLog<KvEvent> {
    return this.#record.kvEvents;
  }

  get decisions(): NumberedLog<LoggedDecision> {
    return this.#record.decisions;
  }

  get failure(): string | undefined {
    return this.#lives.failure;
  }

  get numRestarts(): number {
    return this.#lives.numRestarts;
  }

  get outage(): Outage | undefined {
    return this.#lives.outage;
  }

  get notice(): string | undefined {
    return this.#lives.notice;
  }

  get stall(): EngineStall | undefined {
    return this.#lives.stall;
  }

  get numStalls(): number {
    return this.#lives.numStalls;
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
    return this.#lives.start(config);
  }

  async submit(request: GenerationRequest): Promise<Generation> {
    this.#checkReady();
    this.#options.onSubmit(request.id);
    return await this.#requests.open(request);
  }

  async command<C extends EngineCommand>(command: C): Promise<ReplyOf<C>> {
    this.#checkReady();
    const { id, reply } = this.#commands.open();
    this.#lives.post({ type: "command", id, command });
    return await reply as ReplyOf<C>;
  }

  /**
   * Stops gracefully: refuses new requests, waits at most `deadlineMs` for those in flight, and has
   * the isolate release its device. An isolate that still starts is not waited for.
   *
   * Its Worker stays, doing nothing, until `close` or the end of the process: a thread that is
   * being torn down while the process exits may crash it (seen with the software adapter, whose
   * threads outlive the device: one exit in twenty).
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#lives.beginDrain();
    let cancelDeadline = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancelDeadline = this.#options.clock.after(deadlineMs, resolve);
    });
    await Promise.race([this.#requests.whenEmpty(), deadline]);
    cancelDeadline();
    this.#dropAll();
    await this.#lives.stop();
  }

  /** Ends the isolate at once; requests in flight end with an error. Idempotent. */
  close(): void {
    this.#lives.beginDrain();
    this.#dropAll();
    this.#lives.end();
  }

  #checkReady(): void {
    const { state } = this.#lives;
    if (state !== "ready") throw new EngineUnavailableError(UNAVAILABLE[state]);
  }

  /** Ends everything that callers wait for: the start, requests and commands. */
  #dropAll(): void {
    this.#lives.cancel();
    this.#requests.failAll(
      engineUnavailable("The server has shut down before the answer was complete"),
    );
    this.#commands.failAll("The server has shut down before the command was carried out");
  }

  #receive(message: WorkMessage): void {
    switch (message.type) {
      case "accepted":
        return this.#requests.accept(message.id);
      case "refused":
        return this.#requests.refuse(message.id, message.error);
      case "admitted":
        return this.#requests.admit(message.ids);
      case "reply":
        return this.#commands.settle(message.id, message.value, message.error);
      case "events":
        return this.#onEvents(message);
    }
  }

  #onEvents(message: Extract<WorkMessage, { readonly type: "events" }>): void {
    // Before the tokens that the records explain.
    const { numSteps, numStepTokens } = this.#record.update(message);
    if (numSteps > 0) {
      this.#lives.stepped();
      this.#options.onStep(numStepTokens);
    }
    if (message.events.some(completesAnswer)) this.#lives.answered();
    this.#info = this.#info && withPoolSize(this.#info, message.stats.numBlocks);
    this.#requests.deliver(message.events);
  }

  #onReady(info: EngineInfo): void {
    this.#info = info;
    this.#record.stats.beginIsolate(info.numBlocks);
    this.#requests.connect();
    if (this.state === "ready") this.#options.onReady(info);
  }

  /** Requests are kept where another isolate is to come. */
  #onFailure(reason: string, wasReady: boolean): LostRequests {
    if (wasReady) this.#record.stats.count("numLosses");
    this.#commands.failAll("The engine stopped before it replied to the command");
    if (this.state === "restarting") return this.#requests.disconnect(ENGINE_FAILED);
    const numFailed = this.#requests.size;
    this.#requests.failAll(this.state === "failed" ? givenUp(reason) : ENGINE_FAILED);
    return { numKept: 0, numFailed };
  }
}

function completesAnswer({ finishReason }: TokenEvent): boolean {
  return finishReason === "stop" || finishReason === "length";
}

import { type Clock, systemClock } from "../base/clock.ts";
import { EventLoopPing } from "../base/event_loop_ping.ts";
import { type Batch, type ChunkResult, hasSwaps } from "../core/batch.ts";
import type { CurvePoint, EngineCommand } from "../core/engine_command.ts";
import { RequestError } from "../core/errors.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { SwapTimes } from "../core/swap_space.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { PinnedPrefixes } from "../kvcache/prefix/pinned_prefixes.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { CostMeter } from "./cost_meter.ts";
import { ElasticPool, type ElasticRunner } from "./elastic_pool.ts";
import { EngineCommands } from "./engine_commands.ts";
import { EngineViews, type ViewedCache } from "./engine_views.ts";
import { EngineWork } from "./engine_work.ts";
import type { KvRecorder } from "./kv_recorder.ts";
import type { FromEngine } from "./messages.ts";
import type { StepPace } from "./step_pace.ts";
import { type DeviceTimes, type StepTime, StepTimes } from "./step_times.ts";
import type { StepTraceWriter } from "./step_trace_writer.ts";
import type { Pulse } from "./watchdog.ts";

/** Computes batches: the engine's view of the model and its device. */
export interface Runner extends Partial<ElasticRunner>, DeviceTimes {
  /**
   * Computes one batch and returns one result per chunk that asks for something, in the order of
   * the chunks. `onSubmitted` may be called once while the device computes.
   */
  run(
    batch: Batch,
    onSubmitted: () => void,
  ): readonly ChunkResult[] | Promise<readonly ChunkResult[]>;
  /** What copies to and from host memory have taken so far; absent where there is none. */
  readonly swapTimes?: SwapTimes | undefined;
  /** Releases the device; nothing is run afterwards. */
  destroy?(): void;
}

/** The parts of an engine. */
export interface EngineOptions {
  readonly scheduler: Scheduler;
  readonly runner: Runner;
  /** Sends a message to the main isolate. */
  readonly post: (message: FromEngine) => void;
  /** Its records are posted with each step's events. */
  readonly recorder?: KvRecorder;
  /** Records requests, plans and results. */
  readonly stepTrace?: StepTraceWriter | undefined;
  /** The prefix cache's, where there is one. */
  readonly pins?: PinnedPrefixes | undefined;
  /** Blocks that the pool may grow to by itself; default: none beyond those it has. */
  readonly maxNumBlocks?: number;
  /** Shows what blocks and the radix tree hold; absent: nobody can look. */
  readonly viewed?: ViewedCache | undefined;
  /** Estimates hit rates at other sizes of KV memory. */
  readonly curve?: { estimate(): readonly CurvePoint[] };
  /** Says what plans are to be cut to; absent: they are as large as the scheduler makes them. */
  readonly pace?: StepPace | undefined;
  readonly clock?: Pick<Clock, "now">;
}

/**
 * The step loop: schedule, run, commit, post.
 *
 * The events of a step are posted while the device computes the next one, so that the device does
 * not wait for the post; without a next step, at once.
 *
 * `submit`, `abort` and `command` may be called at any time, also while a step is in flight; the
 * loop lets the event loop turn between steps so that they are. Commands are kept for the end of
 * the step. Without work it sleeps until it is asked for something.
 */
export class Engine {
  readonly #scheduler: Scheduler;
  readonly #runner: Runner;
  readonly #post: (message: FromEngine) => void;
  readonly #times: StepTimes;
  readonly #costs = new CostMeter();
  readonly #recorder: KvRecorder | undefined;
  readonly #stepTrace: StepTraceWriter | undefined;
  readonly #commands: EngineCommands;
  readonly #views: EngineViews;
  /** Absent where the runner's memory has one size. */
  readonly #pool: ElasticPool | undefined;
  readonly #pace: StepPace | undefined;
  readonly #now: () => number;
  /** Commands that wait for the end of the step. */
  readonly #asked: { readonly id: number; readonly command: EngineCommand }[] = [];
  #isStopped = false;
  #isAsleep = false;
  #numAdvances = 0;
  readonly #work = new EngineWork();
  #wake: () => void = () => {};
  /** The latest report, until it is posted. */
  #unposted: FromEngine | undefined;

  constructor(options: EngineOptions) {
    this.#scheduler = options.scheduler;
    this.#runner = options.runner;
    this.#post = options.post;
    this.#recorder = options.recorder;
    this.#stepTrace = options.stepTrace;
    this.#pace = options.pace;
    const { runner, scheduler, viewed, maxNumBlocks = 0, clock = systemClock } = options;
    this.#times = new StepTimes(runner, clock);
    this.#views = new EngineViews(scheduler, viewed, clock);
    // A replay sees the times of the step trace.
    this.#now = options.stepTrace?.now ?? (() => clock.now());
    this.#pool = isElastic(runner)
      ? new ElasticPool(scheduler.pool, runner, maxNumBlocks)
      : undefined;
    const { pins, curve, stepTrace } = options;
    const [views, times, pool] = [this.#views, this.#times, this.#pool];
    const abort = (id: RequestId) => this.abort(id);
    this.#commands = new EngineCommands({
      scheduler,
      views,
      times,
      pool,
      pins,
      curve,
      stepTrace,
      abort,
    });
  }

  /** Queues a request, and posts `accepted` or `refused`. */
  submit(request: GenerationRequest): void {
    try {
      this.#stepTrace?.tick();
      this.#scheduler.add(request, this.#now());
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#post({ type: "refused", id: request.id, error: error.data });
      return;
    }
    this.#stepTrace?.record({ type: "add", request });
    this.#post({ type: "accepted", id: request.id });
    this.#wake();
  }

  /** Ends sequence `index` of a request, or all of them; unknown ids are ignored. */
  abort(id: RequestId, index?: number): void {
    this.#stepTrace?.tick();
    this.#stepTrace?.record({
      type: "abort",
      requestId: id,
      ...(index === undefined ? {} : { index }),
    });
    this.#scheduler.abort(id, index);
    this.#wake();
  }

  /** Carries a command out before the next step, and replies. */
  command(id: number, command: EngineCommand): void {
    this.#asked.push({ id, command });
    this.#wake();
  }

  /** Steps until `stop`; rejects with whatever the runner or an audit throws. */
  async loop(): Promise<void> {
    const eventLoop = new EventLoopPing();
    try {
      while (!this.#isStopped) {
        if (this.#asked.length > 0) {
          await this.#executeCommands();
        } else if (this.#scheduler.hasWork) {
          await this.#growPool();
          await this.#step();
          await eventLoop.ping();
        } else {
          await this.#rest();
        }
      }
    } finally {
      this.#flush();
      eventLoop.close();
    }
  }

  /** Whether there is work, also such as the loop sleeps over, and how much has been completed. */
  get pulse(): Pulse {
    const isBusy = !this.#isAsleep || this.#scheduler.hasWork || this.#asked.length > 0;
    const numAdvances = this.#numAdvances;
    const work = this.#work.describe();
    if (!isBusy || work === undefined) return { numAdvances, isBusy };
    return { numAdvances, isBusy, work: `${work}; ${this.#scheduler.describeQueue()}` };
  }

  /** Ends the loop after the step it is in. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  async #growPool(): Promise<void> {
    const shortage = this.#pool?.shortage();
    if (shortage === undefined) return;
    this.#flush();
    this.#work.grow();
    await this.#pool?.grow(shortage);
  }

  async #executeCommands(): Promise<void> {
    const replies: FromEngine[] = [];
    for (const { id, command } of this.#asked.splice(0)) {
      this.#work.command(command.type);
      replies.push({ type: "reply", id, ...await this.#commands.execute(command) });
      this.#numAdvances++;
    }
    // A command may have changed the statistics, and nothing else would tell them while idle. They
    // go before the replies, so that the caller sees the numbers that its reply speaks of.
    this.#report(this.#scheduler.takeEvents());
    this.#flush();
    for (const reply of replies) this.#post(reply);
  }

  async #step(): Promise<void> {
    this.#times.begin();
    this.#work.plan();
    const log = this.#views.beginStep();
    this.#stepTrace?.tick();
    const bounds = this.#pace?.bounds;
    const batch = this.#scheduler.schedule(this.#now(), bounds);
    this.#stepTrace?.record({
      type: "plan",
      ...(bounds === undefined ? {} : { bounds }),
      ...(batch === undefined ? {} : { batch }),
    });
    const ids = this.#scheduler.takeAdmitted();
    if (batch === undefined) return;
    if (ids.length > 0) this.#post({ type: "admitted", ids });
    log?.planned(batch);
    this.#recorder?.planned(batch);
    this.#work.run(batch);
    const results = await this.#runner.run(batch, () => this.#flush());
    this.#stepTrace?.tick();
    this.#stepTrace?.record({ type: "results", step: batch.step, results });
    this.#work.commit();
    const events = this.#scheduler.commit(batch, results);
    const time = this.#times.end();
    // With copies a step takes longer than what it computes.
    if (!hasSwaps(batch)) this.#pace?.observe(batch, time);
    this.#observeCosts(batch, time);
    log?.ended(this.#times.totals);
    this.#numAdvances++;
    this.#report(events);
  }

  /** Tells the scheduler what copying and computing take, where it has host memory. */
  #observeCosts(batch: Batch, { deviceMs, hostMs }: StepTime): void {
    const { swapTimes } = this.#runner;
    const costs = swapTimes && this.#costs.observe(batch, deviceMs + hostMs, swapTimes);
    if (costs === undefined) return;
    this.#stepTrace?.record({ type: "costs", costs });
    this.#scheduler.setSwapCosts(costs);
  }

  /** Idle: reports the ends that no step has carried, audits the pool, and sleeps. */
  async #rest(): Promise<void> {
    const events = this.#scheduler.takeEvents();
    if (events.length > 0) this.#report(events);
    this.#flush();
    this.#scheduler.checkIntegrity();
    this.#work.rest();
    this.#isAsleep = true;
    await new Promise<void>((resolve) => this.#wake = resolve);
    this.#isAsleep = false;
    this.#wake = () => {};
  }

  /** Posts these at the next flush, after all that was reported before. */
  #report(events: readonly TokenEvent[]): void {
    this.#flush();
    const stats = { ...this.#scheduler.stats, ...this.#times.totals };
    this.#unposted = { type: "events", events, stats, ...this.#recorder?.drain() };
  }

  /** Posts the latest report, once. */
  #flush(): void {
    const message = this.#unposted;
    this.#unposted = undefined;
    if (message !== undefined) this.#post(message);
  }
}

function isElastic(runner: Runner): runner is Runner & ElasticRunner {
  return runner.resizeKv !== undefined;
}

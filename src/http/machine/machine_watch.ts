import { STATUS_CODE } from "@std/http";
import { type Clock, systemClock } from "../../base/clock.ts";
import type { BlockMap, EngineView, TreeView } from "../../core/engine_view.ts";
import { EngineUnavailableError, RequestError } from "../../core/errors.ts";
import type { EnginePort } from "../../core/engine_port.ts";
import { type Frame, makeAwayFrame, makeFrame } from "./machine_frame.ts";
import { type LatencyKind, MachineHistory } from "./machine_history.ts";

/** Most viewers at a time. */
export const MAX_VIEWERS = 16;

/** Least time between two frames, ms. */
const FRAME_MS = 250;

/** Time between two frames that say for how long the engine has not got on, ms. */
const STALL_MS = 1000;

/** Most time between two views while something happens, ms. */
const MAX_REST_MS = 2000;

/** Each n-th frame has the tree. */
const TREE_EVERY = 4;

/** The engine rests for as many times as a view took it, so that views are half a percent of it. */
const REST_FACTOR = 200;

/** Most of each that a frame tells of. */
const MAX_RUNS = 160;
const MAX_SEQUENCES = 256;
const MAX_DECISIONS = 400;

/** Where latencies are told as they are measured. */
export interface LatencySource {
  /** One listener at a time; undefined for none. */
  watchLatencies(listener: ((kind: LatencyKind, seconds: number) => void) | undefined): void;
}

/**
 * The inside of the engine as frames, one source for all who watch.
 *
 *     engine isolate  <- view -  this  - frame n -> viewers, each at its own pace
 *
 * The engine is asked a few times a second, only while somebody watches, and only where something
 * has happened; the rest between two views is a multiple of the time that a view takes. A frame is
 * written once for all who read it. A viewer that is slower than the frames gets the latest, whole.
 */
export class MachineWatch {
  readonly #engine: EnginePort;
  readonly #latencies: LatencySource;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly history: MachineHistory = new MachineHistory();
  #numViewers = 0;
  #isRunning = false;
  #latest: Frame | undefined;
  #next: PromiseWithResolvers<void> = Promise.withResolvers();
  #numFrames = 0;
  #map: BlockMap | undefined;
  #tree: TreeView | undefined;
  #lastView: EngineView | undefined;
  /** Whether the latest view was without the tree. */
  #isTreeOld = false;
  #nextDecision = 0;
  /** Unix time at which the clock stood at 0, ms. */
  #beganMs = 0;
  #wake: () => void = () => {};
  /** What the engine had done at the latest view. */
  #seen = "";

  /** `onError` is told of failures that are not the engine's being away. */
  constructor(
    engine: EnginePort,
    latencies: LatencySource,
    { clock = systemClock, onError = () => {} }: {
      readonly clock?: Clock;
      readonly onError?: (error: unknown) => void;
    } = {},
  ) {
    this.#engine = engine;
    this.#latencies = latencies;
    this.#clock = clock;
    this.#onError = onError;
  }

  get numViewers(): number {
    return this.#numViewers;
  }

  /**
   * Takes the place of one more viewer, until its frames are left.
   *
   * @throws {RequestError} 429 where there is none.
   */
  join(signal: AbortSignal): AsyncGenerator<string, void> {
    if (this.#numViewers >= MAX_VIEWERS) {
      throw new RequestError(
        `${this.#numViewers} viewers watch the machine, at most ${MAX_VIEWERS} may`,
        { status: STATUS_CODE.TooManyRequests, code: "too_many_viewers" },
      );
    }
    this.#numViewers++;
    let hasLeft = false;
    const leave = () => {
      if (hasLeft) return;
      hasLeft = true;
      if (--this.#numViewers === 0) this.#wake();
    };
    signal.addEventListener("abort", leave, { once: true });
    if (!this.#isRunning) {
      this.#isRunning = true;
      void this.#run();
    }
    return this.#frames(signal, leave);
  }

  async *#frames(signal: AbortSignal, leave: () => void): AsyncGenerator<string, void> {
    const gone = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    let seen = -1;
    try {
      while (!signal.aborted) {
        const latest = this.#latest;
        if (latest === undefined || latest.frame === seen) {
          await Promise.race([this.#next.promise, gone]);
          continue;
        }
        const isNext = seen >= 0 && latest.frame === seen + 1;
        seen = latest.frame;
        yield isNext ? latest.change() : latest.whole();
      }
    } finally {
      leave();
    }
  }

  async #run(): Promise<void> {
    this.history.begin();
    this.#beganMs = Date.now() - this.#clock.now();
    this.#nextDecision = this.#engine.decisions.nextSeq;
    this.#latencies.watchLatencies((kind, seconds) => this.history.observe(kind, seconds));
    this.#seen = "";
    while (this.#numViewers > 0) {
      const restMs = await this.#look();
      if (this.#numViewers > 0) await this.#rest(restMs);
    }
    this.#latencies.watchLatencies(undefined);
    // A viewer that comes later shall not be shown what was long ago.
    this.#latest = undefined;
    this.#map = undefined;
    this.#isRunning = false;
  }

  /** Waits so long, or until the last viewer has left. */
  async #rest(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(ms, resolve);
    this.#wake = resolve;
    await promise;
    cancel();
    this.#wake = () => {};
  }

  /** Makes a frame if there is something new; returns how long to rest, ms. */
  async #look(): Promise<number> {
    const { stats, decisions } = this.#engine;
    const timeMs = Math.round(this.#beganMs + this.#clock.now());
    const moment = this.history.update(stats, timeMs);
    const done = this.#done();
    const isQuiet = done === this.#seen && moment === undefined && !this.#isTreeOld;
    if (isQuiet) return FRAME_MS;
    try {
      const view = await this.#whileWaiting(this.#view(done));
      const news = decisions.from(this.#nextDecision).slice(-MAX_DECISIONS);
      this.#nextDecision = decisions.nextSeq;
      this.#publish(makeFrame({
        ...{ frame: this.#numFrames++, timeMs, view, before: this.#map, tree: this.#tree },
        ...{ stats: this.#engine.stats, engine: this.#engine, moment, decisions: news },
      }));
      this.#map = view.blocks;
      this.#seen = this.#done();
      return Math.max(FRAME_MS, Math.min(MAX_REST_MS, REST_FACTOR * view.tookMs));
    } catch (error) {
      if (!(error instanceof EngineUnavailableError)) this.#onError(error);
      // What is seen of it next is another one.
      this.#tree = this.#lastView = undefined;
      this.#isTreeOld = false;
      this.#showAway(this.#engine.failure ?? messageOf(error));
      return FRAME_MS;
    }
  }

  /** Waits for a view, and shows meanwhile that the engine does not get on. */
  async #whileWaiting(view: Promise<EngineView>): Promise<EngineView> {
    let isWaiting = true;
    let cancel = () => {};
    const watchOn = () => {
      cancel = this.#clock.after(STALL_MS, () => {
        const { stall } = this.#engine;
        if (stall !== undefined) this.#showAway(stall.reason);
        if (isWaiting) watchOn();
      });
    };
    watchOn();
    try {
      return await view;
    } finally {
      isWaiting = false;
      cancel();
    }
  }

  /** Tells that the engine cannot be looked into; the next frame is whole. */
  #showAway(reason: string): void {
    // What is counted until it is back belongs to no second.
    this.history.begin();
    this.#map = undefined;
    this.#seen = this.#done();
    const timeMs = Math.round(this.#beganMs + this.#clock.now());
    const frame = this.#numFrames++;
    this.#publish(makeAwayFrame({ frame, timeMs, engine: this.#engine, reason }));
  }

  /**
   * What the engine has done and how it is, outages by the second and stalls: other than seen, it
   * is new.
   */
  #done(): string {
    const { state, failure, outage, stall, stats, decisions } = this.#engine;
    const seconds = outage && Math.floor(outage.elapsedMs / 1000);
    return JSON.stringify([state, failure, seconds, stall !== undefined, stats, decisions.nextSeq]);
  }

  /** The view of now; where nothing was done since the last, that one, without its news. */
  async #view(done: string): Promise<EngineView> {
    const isSame = done === this.#seen;
    if (isSame && !this.#isTreeOld && this.#lastView !== undefined) {
      const { tree: _, ...same } = this.#lastView;
      return { ...same, steps: [], chunks: [], tookMs: 0 };
    }
    const hasTree = isSame || this.#tree === undefined || this.#numFrames % TREE_EVERY === 0;
    const view = await this.#engine.command({
      type: "view",
      maxNumRuns: hasTree ? MAX_RUNS : 0,
      maxNumSequences: MAX_SEQUENCES,
    });
    if (hasTree) this.#tree = view.tree;
    this.#isTreeOld = !hasTree;
    this.#lastView = view;
    return view;
  }

  #publish(frame: Frame): void {
    this.#latest = frame;
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

import type { Clock } from "../base/clock.ts";
import { invariant } from "../base/invariant.ts";
import { createLogger } from "../base/log.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import { DeviceLostError, KernelError, OutOfMemoryError, StartupError } from "../core/errors.ts";
import type { KvDecision } from "../core/kv_decision.ts";
import { kvFormat, kvLayoutName } from "../core/kv_layout.ts";
import type { TokenMatchers } from "../core/token_matcher.ts";
import { BlockManager } from "../kvcache/block_manager.ts";
import type { PrefixCacheOptions } from "../kvcache/prefix/prefix_cache_options.ts";
import { PrefixCurve } from "../kvcache/prefix/prefix_curve.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import { Engine, type Runner } from "./engine.ts";
import { KvRecorder } from "./kv_recorder.ts";
import type { FromEngine, ToEngine } from "./messages.ts";
import { StepPace } from "./step_pace.ts";
import type { StepTraceEntry, StepTraceSizes } from "./step_trace.ts";
import { StepTraceWriter } from "./step_trace_writer.ts";

/** A model that is ready to run. */
export interface StartedRunner {
  readonly runner: Runner;
  readonly info: EngineInfo;
  /** Tells one set of weights from another. */
  readonly modelFingerprint: string;
}

/**
 * Loads a model and makes it ready to run; `progress` names each phase as it begins.
 *
 * Throws a `StartupError` for a mistake that the user can put right.
 */
export type StartRunner = (
  config: EngineConfig,
  progress: (phase: string) => void,
) => Promise<StartedRunner>;

/** The services of the isolate that a session lives in. */
export interface EngineSessionOptions {
  readonly startRunner: StartRunner;
  /** Follow sequences through grammars. */
  readonly matchers?: TokenMatchers;
  /** Sends a message to the main isolate. */
  readonly post: (message: FromEngine) => void;
  /** Shows the operator an unforeseen error, with its stack. */
  readonly reportBug: (error: unknown) => void;
  /** Measures steps; default: this machine's. */
  readonly clock?: Pick<Clock, "now">;
}

/**
 * One life of the engine isolate: start, serve, and end with the first error or when told to stop.
 *
 * Nothing is repaired here. Whatever goes wrong is reported as the isolate's last words, and the
 * main isolate decides whether to start another.
 */
export class EngineSession {
  readonly #options: EngineSessionOptions;
  #engine: Engine | undefined;
  #mustStop = false;
  #hasEnded = false;

  constructor(options: EngineSessionOptions) {
    this.#options = options;
  }

  /** Takes one message from the main isolate. */
  receive(message: ToEngine): void {
    if (message.type === "start") {
      this.#serve(message.config).catch((error) => this.#fail(error));
      return;
    }
    if (message.type === "stop") {
      this.#mustStop = true;
      this.#engine?.stop();
      return;
    }
    if (message.type === "ping") {
      if (this.#engine !== undefined) this.#post({ type: "pong", ...this.#engine.pulse });
      return;
    }
    try {
      invariant(this.#engine !== undefined, `${message.type} before the engine is ready`);
      if (message.type === "submit") this.#engine.submit(message.request);
      else if (message.type === "abort") this.#engine.abort(message.id, message.index);
      else this.#engine.command(message.id, message.command);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #serve(config: EngineConfig): Promise<void> {
    const stepTrace = openStepTrace(config);
    const started = await this.#options.startRunner(
      config,
      (phase) => this.#post({ type: "progress", phase }),
    );
    if (!this.#mustStop) {
      this.#engine = this.#createEngine(config, started, stepTrace);
      this.#post({ type: "ready", info: started.info });
      await this.#engine.loop();
    }
    if (this.#hasEnded) return;
    started.runner.destroy?.();
    // The isolate stays until the main isolate ends it, or the process does.
    this.#post({ type: "stopped" });
    this.#hasEnded = true;
  }

  #createEngine(
    config: EngineConfig,
    { runner, info, modelFingerprint }: StartedRunner,
    stepTrace: StepTraceWriter | undefined,
  ): Engine {
    const { maxNumBatchedTokens } = info;
    const [pool, limits] = [poolSizes(config, info), schedulerLimits(config, info)];
    const recorder = new KvRecorder(() => Date.now());
    const onDecision = (decision: KvDecision) => {
      recorder.decided(decision, scheduler.numSteps);
      if (decision.type === "resize") stepTrace?.record(resizeEntry(decision));
    };
    const prefixCache = config.enablePrefixCaching
      ? {
        ...prefixCacheOptions(config, info, modelFingerprint),
        ...omitUndefined({ now: stepTrace?.now }),
        listener: recorder,
      }
      : undefined;
    const blocks: BlockManager = new BlockManager({
      ...pool,
      ...omitUndefined({ prefixCache }),
      onDecision,
      maxInFlightTokens: maxNumBatchedTokens,
    });
    const curve = new PrefixCurve(info.blockSize, () => blocks.numBlocks);
    const scheduler: Scheduler = new Scheduler(blocks, {
      ...limits,
      ...omitUndefined({ matchers: this.#options.matchers }),
      vocabSize: info.vocabSize,
      onDecision,
      onPrompt: (scope, tokens) => curve.lookUp(scope, tokens),
      onEnd: (scope, tokens) => curve.store(scope, tokens),
    });
    stepTrace?.record(startEntry(config, { ...pool, ...limits }));
    const { maxPrefillMs: maxMs } = config;
    return new Engine({
      ...{ scheduler, runner, recorder, stepTrace, curve },
      ...omitUndefined({ clock: this.#options.clock }),
      post: (message) => this.#post(message),
      pins: blocks.pins,
      viewed: blocks,
      maxNumBlocks: info.maxNumBlocks,
      pace: new StepPace(
        maxMs === undefined ? undefined : { maxMs, maxTokens: maxNumBatchedTokens },
      ),
    });
  }

  #post(message: FromEngine): void {
    if (!this.#hasEnded) this.#options.post(message);
  }

  #fail(error: unknown): void {
    if (this.#hasEnded) return;
    const isUsersMistake = error instanceof StartupError;
    const message = error instanceof Error ? error.message : String(error);
    const isOutOfMemory = !isUsersMistake && hasNoMemory(error);
    const isForeseen = isUsersMistake || isOutOfMemory || error instanceof DeviceLostError ||
      error instanceof KernelError;
    // The main isolate may end this one when it reads its last words, so these come last.
    if (!isForeseen) this.#options.reportBug(error);
    this.#post({
      type: "failed",
      message,
      isUsersMistake,
      ...(isOutOfMemory ? { isOutOfMemory } : {}),
    });
    // The isolate stays until the main isolate ends it, so that nothing overtakes these words.
    this.#hasEnded = true;
    this.#engine?.stop();
  }
}

/** Whether a step has failed for want of memory: the device's, or that of the isolate's arrays. */
function hasNoMemory(error: unknown): boolean {
  if (error instanceof DeviceLostError) {
    return /out of memory|not enough memory/i.test(error.message);
  }
  return error instanceof OutOfMemoryError ||
    (error instanceof RangeError && /allocation failed/i.test(error.message));
}

/** The step trace to write, if one is asked for; the log says where it ends too early. */
function openStepTrace(
  { traceSteps, logFormat, logLevel }: EngineConfig,
): StepTraceWriter | undefined {
  if (traceSteps === undefined) return undefined;
  const log = createLogger(omitUndefined({ format: logFormat, level: logLevel }));
  return StepTraceWriter.open(traceSteps, (error) => {
    const reason = error instanceof Error ? error.message : String(error);
    log.error("steps are no longer traced", { file: traceSteps, reason });
  });
}

/** The sizes of the pool, of host memory and of what is kept of states. */
function poolSizes({ stateSnapshotInterval }: EngineConfig, info: EngineInfo) {
  const { numBlocks, blockSize, groups, blocksPerSlab, swapSpace } = info;
  return omitUndefined({
    ...{ numBlocks, blockSize, groups, blocksPerSlab },
    ...{ swapSpace, stateSnapshotInterval },
  });
}

/** The limits of the scheduler, and how it schedules within them. */
function schedulerLimits(config: EngineConfig, info: EngineInfo) {
  const { maxModelLen, shortContextLen, maxNumSeqs, maxNumBatchedTokens } = info;
  const { maxNumQueuedSeqs, schedulingPolicy, longPrefillTokenThreshold } = config;
  const { maxLongPartialPrefills, scheduleConservativeness, maxDecodeSteps } = config;
  return omitUndefined({
    ...{ maxModelLen, shortContextLen, maxNumSeqs, maxNumBatchedTokens, maxNumQueuedSeqs },
    ...{ schedulingPolicy, longPrefillTokenThreshold, maxLongPartialPrefills },
    ...{ scheduleConservativeness, maxDecodeSteps },
  });
}

/** The start of an engine, without the secret of its cache keys. */
function startEntry(
  { cacheSecret: _, ...config }: EngineConfig,
  sizes: Omit<StepTraceSizes, "evictionPolicy">,
): StepTraceEntry {
  const { enablePrefixCaching, evictionPolicy = "lru" } = config;
  const caching = enablePrefixCaching ? { evictionPolicy } : {};
  return { type: "start", sizes: { ...sizes, ...caching }, config };
}

function resizeEntry(
  { numAfter: numBlocks, sequenceId: grownFor }: KvDecision & { type: "resize" },
): StepTraceEntry {
  return { type: "resize", numBlocks, ...omitUndefined({ grownFor }) };
}

function prefixCacheOptions(
  { cacheSecret, evictionPolicy = "lru" }: EngineConfig,
  info: EngineInfo,
  modelFingerprint: string,
): PrefixCacheOptions {
  const secret = cacheSecret === undefined
    ? crypto.getRandomValues(new Uint8Array(32))
    : new TextEncoder().encode(cacheSecret);
  const layout = `${kvLayoutName(kvFormat(info))}, blocks of ${info.blockSize}`;
  return { policy: evictionPolicy, keySpace: { secret, modelFingerprint, layout } };
}

import type { Hono } from "hono";
import { createLogger, type Logger } from "../base/log.ts";
import { type Config, toEngineConfig } from "../core/config.ts";
import type { EngineInfo } from "../core/engine_config.ts";
import type { EngineStall } from "../core/engine_port.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import { VERSION } from "../core/version.ts";
import { EngineClient } from "../engine/client.ts";
import type { EngineClientOptions, EngineFailure } from "../engine/client_options.ts";
import { describeReducedPool } from "../engine/reduced_pool.ts";
import { GrammarService } from "../grammar/grammar_service.ts";
import { createApp } from "../http/app.ts";
import { createSeedSource } from "../http/fields/seed_source.ts";
import {
  type AccessRules,
  DEFAULT_LIMITS,
  type ServedModel,
  type Services,
} from "../http/services.ts";
import { ServingMetrics } from "../http/metrics/serving_metrics.ts";
import { MissWatch } from "../misses/miss_watch.ts";
import { PREFIX_STORE, TUNING_STORE } from "../state/store_kinds.ts";
import { checkStorePlace } from "../state/store_place.ts";
import { createToolService } from "../tools/tool_service.ts";
import { StopStrings } from "../tokenizer/stop_strings.ts";
import { loadTextService, type TextService } from "../tokenizer/text_service.ts";
import { windowAnswer } from "../window/window_answer.ts";
import { findModelSource } from "../weights/model_source.ts";
import { createKvPlanner } from "./kv_planner.ts";
import type { ModelDirectory } from "./model_directory.ts";
import { openSpans } from "./otel_spans.ts";
import { PrefixKeeper } from "./prefix_keeper.ts";
import { describeModel } from "./served_model.ts";
import { StartProgress } from "./start_progress.ts";
import { storePath } from "./store_path.ts";

/** A server, which answers while its engine still starts. */
export interface Server {
  readonly app: Hono;
  readonly modelName: string;
  readonly log: Logger;
  /** Settles when the engine is ready, or could not be started. */
  readonly ready: Promise<EngineInfo>;
  /** Sums over the engine's lives, as of its last step. */
  stats(): EngineStats;
  /** Waits for running requests, at most `deadlineMs`, and ends the engine. */
  stop(deadlineMs: number): Promise<void>;
}

/** Callbacks of `createServer`. */
export interface ServerEvents {
  /** Is told the phases of the engine's start, for `/health`; one of its own if absent. */
  readonly start?: StartProgress;
  /** A phase of the engine's start has begun. */
  readonly onProgress?: (phase: string) => void;
  /** The engine was ready and has failed for good; its requests have been answered. */
  readonly onGivenUp?: (reason: string) => void;
}

/**
 * Wires the rooms together: text service, engine isolate and HTTP door for one model.
 *
 * @param place who may call, and the model.
 * @throws {StartupError} for model files that cannot be served, and for files that are no stores of
 * Quire's.
 */
export async function createServer(
  config: Config,
  { access, directory }: {
    readonly access: AccessRules;
    readonly directory: ModelDirectory;
  },
  { start = new StartProgress(), onProgress = () => {}, onGivenUp = () => {} }: ServerEvents = {},
): Promise<Server> {
  const log = createLogger({ format: config.logFormat, level: config.logLevel });
  const source = findModelSource(directory.dir);
  const files = source.textFiles();
  const text = await loadTextService(files);
  const events = { start, onProgress, onGivenUp };
  // The engine reports to the prefix keeper and the metrics, which both are made with the engine.
  const madeLater = { keeper: () => keeper, metrics: () => metrics };
  const engine = engineClient(config, { log, ...madeLater, ...events });
  const model = await describeModel(config, { files, source, name: directory.name }, text);
  const base = baseConfig(config, directory);
  const path = storePath(config.prefixStore, PREFIX_STORE);
  const keeper: PrefixKeeper = await PrefixKeeper.open({ path, engine, config: base, log });
  const deadlineMs = config.grammarCompileTimeout * 1000;
  const grammars = new GrammarService(files, { deadlineMs });
  const metrics: ServingMetrics = servingMetrics(engine, model, keeper);
  const app = createApp({
    engine,
    text,
    model,
    grammars,
    tools: createToolService(config.toolCallParser, text.chatTemplate),
    misses: missWatch(config, { text, engine, metrics, thinking: model.thinking }),
    createStopStrings: (stops) => new StopStrings(stops),
    access,
    cacheSecret: keeper.cacheSecret,
    limits: limitsOf(config),
    metrics,
    kvPlanner: createKvPlanner({ files, name: model.names[0]! }),
    window: windowAnswer,
    start: () => start.snapshot(),
    log,
    version: VERSION,
    nextSeed: createSeedSource(config.seed),
    now: () => performance.now(),
  });
  // The same keys after a restart, so that what was remembered is recognised.
  const fromStores = { ...tuningStoreOf(config), cacheSecret: keeper.cacheSecret.toHex() };
  const ready = engine.start({ ...base, ...fromStores });
  // Those who wait for `ready` are told of a start that fails.
  ready.then(({ vocabSize }) => warnOfTokens(log, text.vocabSize, vocabSize)).catch(() => {});
  return {
    app,
    modelName: model.names[0]!,
    log,
    ready,
    stats: () => engine.stats,
    stop: (deadlineMs) => stop({ engine, keeper, text, grammars }, deadlineMs),
  };
}

/** What every start of the engine has. */
function baseConfig(config: Config, { dir, otherFiles }: ModelDirectory) {
  return { ...toEngineConfig(config, dir), ...(otherFiles === undefined ? {} : { otherFiles }) };
}

/** Tokens may have been added to a tokenizer that the model was not made larger for. */
function warnOfTokens(log: Logger, numTokens: number, vocabSize: number): void {
  if (numTokens <= vocabSize) return;
  log.warn("the tokenizer has tokens that the model lacks: prompts with them are refused", {
    tokenizer: numTokens,
    model: vocabSize,
  });
}

/** The engine's client, which tells the log and the prefix keeper what happens to it. */
function engineClient(
  config: Config,
  { log, keeper, metrics, start, onProgress, onGivenUp }: Required<ServerEvents> & {
    readonly log: Logger;
    readonly keeper: () => PrefixKeeper;
    readonly metrics: () => ServingMetrics;
  },
): EngineClient {
  const engine: EngineClient = new EngineClient({
    ...engineLimits(config),
    onProgress: (phase) => {
      start.enter(phase);
      onProgress(phase);
    },
    onReady: (info) => {
      const { numRestarts: restarts, numInFlight } = engine;
      if (restarts > 0) log.info("engine runs again", { restarts, requests_resumed: numInFlight });
      // Each isolate starts with an empty cache.
      void keeper().reheat(info);
    },
    onFailure: (failure) => {
      logFailure(log, failure);
      // Those who wait for `ready` are told of a start that fails.
      if (failure.state === "failed" && engine.info !== undefined) onGivenUp(failure.reason);
    },
    onSubmit: (id) => keeper().giveWayTo(id),
    onStall: (stall) => logStall(log, stall),
    onStep: (numTokens) => metrics().observeStep(numTokens),
  });
  return engine;
}

function servingMetrics(engine: EngineClient, model: ServedModel, keeper: PrefixKeeper) {
  const metrics = new ServingMetrics(engine, model.names[0]!, openSpans());
  metrics.watchReheat(() => keeper.progress);
  return metrics;
}

/** Tells why prompts miss the prefix cache, and counts the causes. */
function missWatch(
  { promptHistoryBytes, enablePrefixCaching }: Config,
  { text, engine, metrics, thinking }: {
    readonly text: TextService;
    readonly engine: EngineClient;
    readonly metrics: ServingMetrics;
    readonly thinking: ServedModel["thinking"];
  },
): MissWatch {
  return new MissWatch({
    maxBytes: promptHistoryBytes,
    isCaching: enablePrefixCaching,
    thinking,
    textOf: (ids) => {
      const detokenizer = text.createDetokenizer({ skipSpecialTokens: false });
      return detokenizer.push([...ids]) + detokenizer.flush();
    },
    hasPartialCaches: () => engine.info?.groups?.some(({ kind }) => kind !== "full") ?? false,
    onCause: (cause) => metrics.observeMiss(cause),
  });
}

/** Ends the parts of a server, the engine within `deadlineMs`. */
async function stop(
  { engine, keeper, text, grammars }: {
    engine: EngineClient;
    keeper: PrefixKeeper;
    text: TextService;
    grammars: GrammarService;
  },
  deadlineMs: number,
): Promise<void> {
  // Awaited after the drain only: a reheat that waits for a hung engine ends with the drain.
  const reheatEnded = keeper.stopReheat();
  await engine.drain(deadlineMs);
  await reheatEnded;
  await keeper.close();
  text.close();
  grammars.close();
}

/**
 * The file that keeps the times of kernels, if any.
 *
 * @throws {StartupError} for another program's file, also where no kernel is timed.
 */
function tuningStoreOf({ tuningStore }: Config): { readonly tuningStore?: string } {
  const path = storePath(tuningStore, TUNING_STORE);
  if (path === undefined) return {};
  checkStorePlace({ path, kind: TUNING_STORE });
  return { tuningStore: path };
}

/** Limits of one request and of one stream. */
function limitsOf(
  { maxQueuedRequests, requestTimeout, sseKeepAliveSeconds }: Config,
): Services["limits"] {
  return {
    ...DEFAULT_LIMITS,
    maxNumQueuedSeqs: maxQueuedRequests,
    ...(requestTimeout === undefined ? {} : { requestTimeoutSeconds: requestTimeout }),
    keepAliveMs: sseKeepAliveSeconds * 1000,
  };
}

/** Deadlines and restarts of the engine isolate. */
function engineLimits(
  { engineStartTimeout, engineStepTimeout, maxEngineFailures }: Config,
): EngineClientOptions {
  return {
    restart: { maxNumFailures: maxEngineFailures },
    deadlines: {
      startMs: engineStartTimeout * 1000,
      ...(engineStepTimeout === undefined ? {} : { stepMs: engineStepTimeout * 1000 }),
    },
  };
}

function logStall(log: Logger, stall: EngineStall | undefined): void {
  if (stall === undefined) log.info("the engine gets on again");
  else log.warn("the engine does not get on", { ...stall });
}

function logFailure(
  log: Logger,
  { reason, state, numFailed, numKept, reducedPool, pauseMs }: EngineFailure,
): void {
  log.error("engine stopped", {
    reason,
    state,
    requests_kept: numKept,
    requests_failed: numFailed,
    ...(reducedPool === undefined ? {} : { kv_pool: describeReducedPool(reducedPool) }),
    ...(pauseMs === undefined ? {} : { restart_in_seconds: pauseMs / 1000 }),
  });
}

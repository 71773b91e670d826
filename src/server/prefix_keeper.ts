import type { Logger } from "../base/log.ts";
import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import type { EnginePort } from "../core/engine_port.ts";
import type { RequestId } from "../core/ids.ts";
import { numPoolTokens } from "../core/pool_capacity.ts";
import { kvFormat, kvLayoutName } from "../core/kv_layout.ts";
import { readModelText } from "../core/model_json.ts";
import { HotPrefixes } from "../prefix_store/hot_prefixes.ts";
import { PrefixRecorder } from "../prefix_store/prefix_recorder.ts";
import { PrefixStore, type StoreIdentity } from "../prefix_store/prefix_store.ts";
import { StoreUnusableError } from "../state/store_errors.ts";
import type { ReheatProgress } from "../core/reheat_progress.ts";
import { Reheat } from "../prefix_store/reheat.ts";
import { modelFingerprint } from "../weights/fingerprint.ts";
import { findModelSource } from "../weights/model_source.ts";

/** Most blocks remembered, and most tokens of them all: 4 MiB. */
const MAX_RECORDS = 32_768;
const MAX_TOKENS = 2 ** 20;
const HALF_LIFE_MS = 24 * 3_600_000;
const FORGET_AFTER_MS = 8 * HALF_LIFE_MS;
/** Share of the pool that a reheat fills; the rest is left to new requests. */
const WARM_SHARE = 0.5;

const NO_PROGRESS: ReheatProgress = {
  numPrefixesDone: 0,
  numPrefixesLeft: 0,
  numTokensDone: 0,
  numTokensLeft: 0,
};

/** The parts of a prefix keeper with a store. */
interface Parts {
  readonly store: PrefixStore;
  readonly hotPrefixes: HotPrefixes;
  readonly recorder: PrefixRecorder;
  readonly reheat: Reheat;
}

/** The options of a prefix keeper. */
export interface PrefixKeeperOptions {
  /** File of the store; undefined for none. */
  readonly path: string | undefined;
  readonly engine: EnginePort;
  readonly config: EngineConfig;
  readonly log: Logger;
}

/**
 * Keeps a server warm over restarts: records the prefixes that KV events show, and computes the
 * hottest again after a start. Without a store it does nothing, and each start has a new secret.
 */
export class PrefixKeeper {
  /** Secret of this deployment under which scopes are named; as old as the store. */
  readonly cacheSecret: Uint8Array;
  readonly #parts: Parts | undefined;

  private constructor(parts: Parts | undefined) {
    this.#parts = parts;
    this.cacheSecret = parts?.store.cacheSecret ?? crypto.getRandomValues(new Uint8Array(32));
  }

  /**
   * Opens the store, before the engine starts, and records from then on. A store that cannot be
   * opened is reported in one line.
   *
   * @throws {StartupError} for model files that cannot be served.
   */
  static async open({ path, engine, config, log }: PrefixKeeperOptions): Promise<PrefixKeeper> {
    if (path === undefined || !config.enablePrefixCaching) return new PrefixKeeper(undefined);
    try {
      const store = await PrefixStore.open(path, identityOf(config), log);
      const hotPrefixes = new HotPrefixes({
        maxRecords: Math.min(MAX_RECORDS, Math.floor(MAX_TOKENS / config.blockSize)),
        halfLifeMs: HALF_LIFE_MS,
        forgetAfterMs: FORGET_AFTER_MS,
      });
      hotPrefixes.load(store.records, Date.now());
      hotPrefixes.forget(Date.now());
      log.info("prefix store is open", { path, blocks: hotPrefixes.size });
      const maxTokens = () => engine.info === undefined ? 0 : tokensToReheat(engine.info);
      const reheat = new Reheat({ engine, log, maxTokens });
      const isReheat = (seq: number) => reheat.hasCaused(seq);
      const { kvEvents } = engine;
      const recorder = new PrefixRecorder({ hotPrefixes, store, kvEvents, isReheat, log });
      recorder.start();
      return new PrefixKeeper({ store, hotPrefixes, recorder, reheat });
    } catch (error) {
      if (!(error instanceof StoreUnusableError)) throw error;
      log.warn("prefix store is off, the next start is cold", { reason: error.message });
      return new PrefixKeeper(undefined);
    }
  }

  /** Progress of the reheat. */
  get progress(): ReheatProgress {
    return this.#parts?.reheat.progress ?? NO_PROGRESS;
  }

  /** Must be called for every request before the engine gets it. */
  giveWayTo(id: RequestId): void {
    this.#parts?.reheat.giveWayTo(id);
  }

  /**
   * Computes the hottest prefixes again, in idle moments; call it whenever the engine is ready, its
   * cache being empty.
   */
  async reheat(info: EngineInfo): Promise<void> {
    if (this.#parts === undefined) return;
    const { hotPrefixes, reheat } = this.#parts;
    const limits = {
      maxTokens: tokensToReheat(info),
      // One position is left for the token that ends the request.
      maxPathTokens: info.maxModelLen - 1,
    };
    await reheat.start(hotPrefixes.hottest(limits, Date.now()));
  }

  /** Ends a reheat, so that the engine can drain. Other requests are still recorded. */
  async stopReheat(): Promise<void> {
    await this.#parts?.reheat.stop();
  }

  /** Writes pending records and closes the store. */
  async close(): Promise<void> {
    await this.#parts?.recorder.stop();
    this.#parts?.store.close();
  }
}

/** Most tokens that a reheat computes into the pool at its present size. */
function tokensToReheat(info: EngineInfo): number {
  return WARM_SHARE * numPoolTokens(info);
}

function identityOf(config: EngineConfig): StoreIdentity {
  const { modelDir, blockSize, quantization } = config;
  const source = findModelSource(modelDir);
  const configText = readModelText(source.configFiles(), "config.json") ?? "";
  const weights = source.openCheckpoint();
  try {
    return {
      modelFingerprint: modelFingerprint(configText, weights, quantization),
      kvLayout: kvLayoutName(kvFormat(config)),
      blockSize,
    };
  } finally {
    weights.close();
  }
}

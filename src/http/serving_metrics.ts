import { Counter, Histogram, Registry } from "prom-client";
import type { EnginePort } from "../core/generation.ts";
import { MISS_CAUSES, type MissCause } from "../core/miss_report.ts";
import type { FinishReason } from "../core/token_event.ts";
import { watchEngineCounters } from "./engine_counters.ts";
import { watchEngineGauges } from "./engine_gauges.ts";
import type { KeyLimit, KeyMeter } from "./key_rules.ts";
import { type ReheatProgress, watchReheat } from "./reheat_metrics.ts";

/** Bucket bounds are vLLM's, so that its dashboards and their quantiles read the same. */
const TTFT_BUCKETS = [
  [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75],
  [1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560],
].flat();
const INTER_TOKEN_BUCKETS = [
  [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75],
  [1, 2.5, 5, 7.5, 10, 20, 40, 80],
].flat();
const LATENCY_BUCKETS = [
  [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60],
  [120, 240, 480, 960, 1920, 7680],
].flat();
/** 1, 2, 5, 10, ... up to a million tokens. */
const TOKEN_BUCKETS = [0, 1, 2, 3, 4, 5].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** e));

const FINISH_REASONS: readonly FinishReason[] = ["stop", "length", "abort", "error"];

/** One sequence that has ended, for the histograms. Times in seconds. */
export interface FinishedSequence {
  readonly reason: FinishReason;
  readonly numPromptTokens: number;
  readonly numGeneratedTokens: number;
  readonly seconds: number;
}

/**
 * What `/metrics` reports, under vLLM's names and with its labels `model_name` and `engine`, so
 * that its dashboards, autoscalers and routers work unchanged. Gauges and the engine's counters are
 * read from its latest statistics at each scrape, so that they advance with its steps and not with
 * the clients' reading; finished requests and histograms are fed by the routes.
 */
export class ServingMetrics implements KeyMeter {
  #registry = new Registry();
  #finished: Counter<"finished_reason">;
  #keyTokens: Counter<"key" | "kind">;
  #keyRefusals: Counter<"key" | "limit">;
  #misses: Counter<"cause">;
  #timeToFirstToken: Histogram;
  #interTokenLatency: Histogram;
  #requestLatency: Histogram;
  #promptLength: Histogram;
  #generationLength: Histogram;
  #onLatency: ((kind: "first_token" | "next_token", seconds: number) => void) | undefined;

  constructor(engine: EnginePort, modelName: string) {
    this.#registry.setDefaultLabels({ model_name: modelName, engine: "0" });
    watchEngineGauges(this.#registry, engine);
    watchEngineCounters(this.#registry, engine);
    this.#finished = new Counter({
      name: "vllm:request_success_total",
      help: "Sequences that ended, by reason",
      labelNames: ["finished_reason"],
      registers: [this.#registry],
    });
    for (const reason of FINISH_REASONS) this.#finished.inc({ finished_reason: reason }, 0);
    this.#keyTokens = new Counter({
      name: "quire:key_tokens_total",
      help: "Tokens of prompts and answers, by the name of the key",
      labelNames: ["key", "kind"],
      registers: [this.#registry],
    });
    this.#keyRefusals = new Counter({
      name: "quire:key_refusals_total",
      help: "Requests beyond a limit of their key, by its name",
      labelNames: ["key", "limit"],
      registers: [this.#registry],
    });
    this.#misses = new Counter({
      name: "quire:prefix_cache_misses_total",
      help: "Prompts that found less in the prefix cache than they could have, by cause",
      labelNames: ["cause"],
      registers: [this.#registry],
    });
    for (const cause of Object.keys(MISS_CAUSES)) this.#misses.inc({ cause }, 0);
    this.#timeToFirstToken = this.#histogram(
      "time_to_first_token_seconds",
      "From the arrival of a request to its first token",
      TTFT_BUCKETS,
    );
    this.#interTokenLatency = this.#histogram(
      "inter_token_latency_seconds",
      "Between two tokens of a sequence",
      INTER_TOKEN_BUCKETS,
    );
    this.#requestLatency = this.#histogram(
      "e2e_request_latency_seconds",
      "From the arrival of a request to its last token",
      LATENCY_BUCKETS,
    );
    this.#promptLength = this.#histogram(
      "request_prompt_tokens",
      "Prompt tokens of a sequence",
      TOKEN_BUCKETS,
    );
    this.#generationLength = this.#histogram(
      "request_generation_tokens",
      "Tokens generated for a sequence",
      TOKEN_BUCKETS,
    );
  }

  /** Media type of {@link text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus's text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** A sequence has its first token, `seconds` after its request arrived. */
  observeFirstToken(seconds: number): void {
    this.#timeToFirstToken.observe(seconds);
    this.#onLatency?.("first_token", seconds);
  }

  /** A sequence has a further token, `seconds` after the one before. */
  observeNextToken(seconds: number): void {
    this.#interTokenLatency.observe(seconds);
    this.#onLatency?.("next_token", seconds);
  }

  /** A sequence has ended. */
  observeFinish({ reason, numPromptTokens, numGeneratedTokens, seconds }: FinishedSequence): void {
    this.#finished.inc({ finished_reason: reason });
    this.#requestLatency.observe(seconds);
    this.#promptLength.observe(numPromptTokens);
    this.#generationLength.observe(numGeneratedTokens);
  }

  observeKeyTokens(key: string, kind: "prompt" | "generation", numTokens: number): void {
    this.#keyTokens.inc({ key, kind }, numTokens);
  }

  observeKeyRefusal(key: string, limit: KeyLimit): void {
    this.#keyRefusals.inc({ key, limit });
  }

  /** A prompt has found less in the prefix cache than it could have. */
  observeMiss(cause: MissCause): void {
    this.#misses.inc({ cause });
  }

  /** Tells one listener of latencies as they are measured; undefined: nobody. */
  watchLatencies(
    listener: ((kind: "first_token" | "next_token", seconds: number) => void) | undefined,
  ): void {
    this.#onLatency = listener;
  }

  /** Adds the progress of a reheat. */
  watchReheat(read: () => ReheatProgress): void {
    watchReheat(this.#registry, read);
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `vllm:${name}`, help, buckets, registers: [this.#registry] });
  }
}

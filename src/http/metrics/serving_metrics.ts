import { Counter, Gauge, Registry } from "prom-client";
import type { EnginePort } from "../../core/engine_port.ts";
import { MISS_CAUSES, type MissCause } from "../../core/miss_report.ts";
import type { RequestId } from "../../core/ids.ts";
import type { FinishReason } from "../../core/token_event.ts";
import { watchEngineCounters } from "./engine_counters.ts";
import { watchEngineGauges } from "./engine_gauges.ts";
import type { KeyLimit, KeyMeter } from "../access/key_rules.ts";
import type { ReheatProgress } from "../../core/reheat_progress.ts";
import { watchReheat } from "./reheat_metrics.ts";
import { RequestHistograms } from "./request_histograms.ts";
import { RequestTraces } from "../traces/request_traces.ts";
import { phasesOf } from "../traces/sequence_trace.ts";
import type { Spans } from "../traces/spans.ts";

/** What a request waits for before the engine knows it: token ids, or a compiled grammar. */
export type PreparingStage = "tokenize" | "grammar";

const PREPARING_STAGES: readonly PreparingStage[] = ["tokenize", "grammar"];

const FINISH_REASONS: readonly FinishReason[] = ["stop", "length", "abort", "error"];

/** One sequence that has ended, for the histograms. */
export interface FinishedSequence {
  /** The request and the place in it under which the engine knows it; absent: it never did. */
  readonly requestId?: RequestId;
  readonly index: number;
  readonly reason: FinishReason;
  readonly numPromptTokens: number;
  /** Absent where it has not begun. */
  readonly numCachedTokens?: number | undefined;
  readonly numGeneratedTokens: number;
  /** Most tokens that it might have generated; absent where it is not known. */
  readonly maxTokens?: number | undefined;
  /** From the arrival of its request to its end. */
  readonly seconds: number;
  /** From its first token to its latest, as they came here; absent where it has none. */
  readonly decodeSeconds?: number | undefined;
}

/**
 * What `/metrics` reports, under vLLM's names and with its labels `model_name` and `engine`, so
 * that its dashboards, autoscalers and routers work unchanged. Gauges and the engine's counters are
 * read from its latest statistics at each scrape, so that they advance with its steps and not with
 * the clients' reading; finished requests and histograms are fed by the routes.
 */
export class ServingMetrics implements KeyMeter {
  /** What has happened to each request, from which the histograms of its parts are made. */
  readonly requestTraces: RequestTraces;
  readonly spans: Spans | undefined;
  #registry = new Registry();
  #finished: Counter<"finished_reason">;
  #keyTokens: Counter<"key" | "kind">;
  #keyRefusals: Counter<"key" | "limit">;
  #misses: Counter<"cause">;
  readonly #histograms: RequestHistograms;
  readonly #preparing: Gauge<"stage">;
  #onLatency: ((kind: "first_token" | "next_token", seconds: number) => void) | undefined;

  /** `spans`: where the spans of requests go; absent: nowhere. */
  constructor(engine: EnginePort, modelName: string, spans?: Spans) {
    this.spans = spans;
    this.#registry.setDefaultLabels({ model_name: modelName, engine: "0" });
    this.requestTraces = new RequestTraces(engine.decisions);
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
    this.#histograms = new RequestHistograms(this.#registry);
    this.#preparing = new Gauge({
      name: "quire:requests_preparing",
      help: "Requests that the engine does not know yet, by what is made for them",
      labelNames: ["stage"],
      registers: [this.#registry],
    });
    for (const stage of PREPARING_STAGES) this.#preparing.set({ stage }, 0);
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
    this.#histograms.observe("timeToFirstToken", seconds);
    this.#onLatency?.("first_token", seconds);
  }

  /** A sequence has a further token, `seconds` after the one before. */
  observeNextToken(seconds: number): void {
    this.#histograms.observe("interTokenLatency", seconds);
    this.#onLatency?.("next_token", seconds);
  }

  /** A sequence has ended. */
  observeFinish(finished: FinishedSequence): void {
    const { reason, numPromptTokens, numCachedTokens, numGeneratedTokens, maxTokens } = finished;
    this.#finished.inc({ finished_reason: reason });
    this.#histograms.observe("requestLatency", finished.seconds);
    this.#histograms.observe("promptLength", numPromptTokens);
    this.#histograms.observe("generationLength", numGeneratedTokens);
    this.#histograms.observe("maxTokens", maxTokens);
    if (numCachedTokens !== undefined) {
      this.#histograms.observe("computedPromptLength", numPromptTokens - numCachedTokens);
    }
    this.#observePhases(finished);
  }

  /** All samples of a prompt have ended, the longest after `numTokens` tokens. */
  observePrompt({ numSamples, numTokens }: { numSamples: number; numTokens: number }): void {
    this.#histograms.observe("numSamples", numSamples);
    this.#histograms.observe("longestGeneration", numTokens);
  }

  /** Counts a request as waiting for `work` until that is done. */
  async prepare<T>(stage: PreparingStage, work: () => Promise<T>): Promise<T> {
    this.#preparing.inc({ stage });
    try {
      return await work();
    } finally {
      this.#preparing.dec({ stage });
    }
  }

  /** The engine has computed `numTokens` positions in a step. */
  observeStep(numTokens: number): void {
    this.#histograms.observe("stepTokens", numTokens);
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

  #observePhases(
    { requestId, index, numGeneratedTokens, decodeSeconds: decodedHere }: FinishedSequence,
  ): void {
    const trace = requestId === undefined ? undefined : this.requestTraces.of(requestId, index);
    if (trace === undefined) return;
    const { queueMs, prefillMs, decodeMs } = phasesOf(trace);
    const prefillSeconds = inSeconds(prefillMs);
    // One that ends at a stop string ends here before it does in the engine.
    const decodeSeconds = inSeconds(decodeMs) ?? decodedHere;
    this.#histograms.observe("queueTime", inSeconds(queueMs));
    this.#histograms.observe("prefillTime", prefillSeconds);
    this.#histograms.observe("decodeTime", decodeSeconds);
    if (prefillSeconds === undefined || decodeSeconds === undefined) return;
    this.#histograms.observe("inferenceTime", prefillSeconds + decodeSeconds);
    if (numGeneratedTokens < 2) return;
    this.#histograms.observe("timePerOutputToken", decodeSeconds / (numGeneratedTokens - 1));
  }
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

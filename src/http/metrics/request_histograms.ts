import type { Registry } from "prom-client";
import { BucketHistogram } from "./bucket_histogram.ts";

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
/** 1, 2, 5, 10, ... up to half a million tokens. */
const TOKEN_BUCKETS = [0, 1, 2, 3, 4, 5].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** e));
const SAMPLE_BUCKETS = [1, 2, 5, 10, 20];
const STEP_BUCKETS = [1, ...Array.from({ length: 12 }, (_, e) => 8 * 2 ** e)];

/** Every histogram, declared once: its name in vLLM, what it says, and its bounds. */
const HISTOGRAMS = {
  timeToFirstToken: {
    name: "time_to_first_token_seconds",
    help: "From the arrival of a request to its first token",
    buckets: TTFT_BUCKETS,
  },
  interTokenLatency: {
    name: "inter_token_latency_seconds",
    help: "Between two tokens of a sequence",
    buckets: INTER_TOKEN_BUCKETS,
  },
  timePerOutputToken: {
    name: "request_time_per_output_token_seconds",
    help: "Mean time of the tokens of a sequence behind its first",
    buckets: INTER_TOKEN_BUCKETS,
  },
  requestLatency: {
    name: "e2e_request_latency_seconds",
    help: "From the arrival of a request to its last token",
    buckets: LATENCY_BUCKETS,
  },
  queueTime: {
    name: "request_queue_time_seconds",
    help: "From the engine's queue to the first admission of a sequence",
    buckets: LATENCY_BUCKETS,
  },
  prefillTime: {
    name: "request_prefill_time_seconds",
    help: "From the first admission of a sequence to its first token",
    buckets: LATENCY_BUCKETS,
  },
  decodeTime: {
    name: "request_decode_time_seconds",
    help: "From the first token of a sequence to its end",
    buckets: LATENCY_BUCKETS,
  },
  inferenceTime: {
    name: "request_inference_time_seconds",
    help: "From the first admission of a sequence to its end",
    buckets: LATENCY_BUCKETS,
  },
  promptLength: {
    name: "request_prompt_tokens",
    help: "Prompt tokens of a sequence",
    buckets: TOKEN_BUCKETS,
  },
  computedPromptLength: {
    name: "request_prefill_kv_computed_tokens",
    help: "Prompt tokens of a sequence that were not found in the prefix cache",
    buckets: TOKEN_BUCKETS,
  },
  generationLength: {
    name: "request_generation_tokens",
    help: "Tokens generated for a sequence",
    buckets: TOKEN_BUCKETS,
  },
  longestGeneration: {
    name: "request_max_num_generation_tokens",
    help: "Tokens of the longest sample of a prompt",
    buckets: TOKEN_BUCKETS,
  },
  maxTokens: {
    name: "request_params_max_tokens",
    help: "Most tokens that a sequence may generate",
    buckets: TOKEN_BUCKETS,
  },
  numSamples: {
    name: "request_params_n",
    help: "Samples of a prompt",
    buckets: SAMPLE_BUCKETS,
  },
  stepTokens: {
    name: "iteration_tokens_total",
    help: "Positions computed in a step of the engine",
    buckets: STEP_BUCKETS,
  },
} as const satisfies Readonly<
  Record<string, { readonly name: string; readonly help: string; readonly buckets: number[] }>
>;

/** The name of a histogram in this program. */
export type HistogramName = keyof typeof HISTOGRAMS;

/** The histograms of requests and of steps, under vLLM's names. */
export class RequestHistograms {
  readonly #histograms: Readonly<Record<HistogramName, BucketHistogram>>;

  constructor(registry: Registry) {
    const entries = Object.entries(HISTOGRAMS).map(([key, { name, help, buckets }]) => [
      key,
      new BucketHistogram({ name: `vllm:${name}`, help, buckets }, registry),
    ]);
    this.#histograms = Object.fromEntries(entries) as Record<HistogramName, BucketHistogram>;
  }

  /** Adds a value, in seconds or tokens; undefined is none. */
  observe(name: HistogramName, value: number | undefined): void {
    if (value !== undefined) this.#histograms[name].observe(value);
  }
}

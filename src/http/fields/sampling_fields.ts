import { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import { MAX_LOGPROBS, type SamplingParams } from "../../core/sampling_params.ts";
import { boundedArray } from "../body/bounded_array.ts";
import { GRAMMAR_FIELDS } from "./grammar_fields.ts";
import { MAX_TOKENS, MaxTokens } from "./length_fields.ts";
import { LOGIT_FIELDS, toLogitParams } from "./logit_fields.ts";
import { invalid, unsupported } from "../refusals.ts";
import { NUM_SEEDS, seedOfSample } from "./seed_source.ts";
import type { RequestLimits, SamplingDefaults } from "../services.ts";
import type { TextPort } from "../text_port.ts";

/**
 * Most samples of one prompt: without a bound, one request could take all memory (CVE-2026-34756).
 */
export const MAX_SAMPLES = 64;
/** Largest exponent of a search's length penalty; beyond it, only the length counts in a score. */
const MAX_LENGTH_PENALTY = 10;
const MAX_STOP_STRINGS = 16;
const MAX_STOP_CHARS = 1024;
const MAX_STOP_TOKEN_IDS = 128;
const MAX_SALT_CHARS = 1024;
const MAX_PRIORITY = 1_000_000;
const MAX_TIMEOUT_SECONDS = 86_400;

const StopString = z.string().min(1).max(MAX_STOP_CHARS)
  .refine((text) => text.isWellFormed(), "well-formed Unicode");

/** Stop strings where a field takes several. */
export const StopStringList = boundedArray(StopString, { max: MAX_STOP_STRINGS });

const StopTokenId = z.int().min(0).max(MAX_TOKENS);

/**
 * Fields with one meaning in `/v1/chat/completions` and `/v1/completions`; null counts as absent.
 */
export const SAMPLING_FIELDS = {
  model: z.string().nullish(),
  max_tokens: MaxTokens,
  n_predict: MaxTokens,
  prompt_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  timings: z.boolean().nullish(),
  timings_per_token: z.boolean().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(-1).max(MAX_TOKENS).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  ...LOGIT_FIELDS,
  ...GRAMMAR_FIELDS,
  seed: z.int().nullish(),
  n: z.int().min(1).max(MAX_SAMPLES).nullish(),
  use_beam_search: z.boolean().nullish(),
  length_penalty: z.number().min(-MAX_LENGTH_PENALTY).max(MAX_LENGTH_PENALTY).nullish(),
  early_stopping: z.boolean().nullish(),
  stop: z.union([StopString, StopStringList]).nullish(),
  stop_token_ids: boundedArray(StopTokenId, { max: MAX_STOP_TOKEN_IDS }).nullish(),
  ignore_eos: z.boolean().nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  explain: z.boolean().nullish(),
  cache_retention: z.looseObject({
    priority: z.int().min(0).max(100),
    duration_ms: z.int().min(1).max(MAX_TOKENS).nullish(),
  }).nullish(),
  cache_salt: z.string().min(1).max(MAX_SALT_CHARS).nullish(),
  priority: z.int().min(-MAX_PRIORITY).max(MAX_PRIORITY).nullish(),
  timeout: z.number().positive().max(MAX_TIMEOUT_SECONDS).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({
    include_usage: z.boolean().nullish(),
    continuous_usage_stats: z.boolean().nullish(),
  }).nullish(),
};

const SamplingFields = z.looseObject(SAMPLING_FIELDS);
/** The checked values of {@link SAMPLING_FIELDS}. */
export type SamplingFields = z.output<typeof SamplingFields>;

/** Stop strings as a list. */
export function stopsOf({ stop }: SamplingFields): readonly string[] {
  if (stop === undefined || stop === null) return [];
  return typeof stop === "string" ? [stop] : stop;
}

/** @throws {RequestError} when stream options come without a stream. */
export function checkStreamOptions({ stream, stream_options }: SamplingFields): void {
  if (stream === true || stream_options === undefined || stream_options === null) return;
  throw invalid("stream_options", "stream_options is only allowed with stream set to true");
}

/**
 * Likeliest tokens per prompt token that a request wants in `prompt_logprobs`; undefined for none.
 *
 * @throws {RequestError} where they have no place: in a stream, and in a search.
 */
export function promptLogprobsOf(
  { prompt_logprobs: listed, stream, use_beam_search }: SamplingFields,
): number | undefined {
  if (listed === undefined || listed === null) return undefined;
  const other = stream === true
    ? "stream"
    : use_beam_search === true
    ? "use_beam_search"
    : undefined;
  if (other === undefined) return listed;
  throw unsupported(
    "prompt_logprobs",
    `prompt_logprobs is not supported with ${other}: leave one of them out`,
  );
}

/**
 * Refuses more sequences, prompts times `n`, than one request may queue, before any is made; the
 * scheduler would, when all are.
 *
 * @throws {RequestError} with the field, the limit and the number.
 */
export function checkNumSequences(
  { n }: SamplingFields,
  numPrompts: number,
  { maxNumQueuedSeqs: limit }: Pick<RequestLimits, "maxNumQueuedSeqs">,
): void {
  const numSamples = n ?? 1;
  const length = numPrompts * numSamples;
  if (length <= limit) return;
  const param = numPrompts > limit ? "prompt" : "n";
  const problem = numPrompts === 1
    ? `n must be at most ${limit}, got ${numSamples}`
    : `prompt has ${numPrompts} elements, which with n ${numSamples} makes ${length} sequences, but ` +
      `at most ${limit} are allowed`;
  throw new RequestError(`${problem}: a request queues no more than --max-queued-requests`, {
    code: "too_many_sequences",
    param,
    details: { n_sequences: length, limit },
  });
}

/** The context of a request's parameters, beside its own fields. */
export interface SamplingContext {
  readonly defaults: SamplingDefaults;
  readonly text: Pick<TextPort, "eosTokenIds">;
  readonly nextSeed: () => number;
  readonly maxTokens: number;
  readonly vocabSize: number;
  readonly numLogprobs: number | undefined;
}

/**
 * Parameters of the samples of one prompt. The `i`-th of them draws with the request's seed plus
 * `i`.
 *
 * @throws {RequestError} when a field is beyond the vocabulary or the length of the answer.
 */
export function toSamplingParams(
  request: SamplingFields,
  context: SamplingContext,
): SamplingParams[] {
  const { defaults, text, maxTokens, vocabSize, numLogprobs } = context;
  const stopTokenIds = [
    ...new Set([
      ...(request.ignore_eos === true ? [] : text.eosTokenIds),
      ...(request.stop_token_ids ?? []),
    ]),
  ];
  // A search ranks by the model's own probabilities: it has no penalty, the makers' neither.
  const logitDefaults = request.use_beam_search === true ? {} : defaults;
  const limits = { vocabSize, maxTokens, stopTokenIds };
  const logitParams = toLogitParams(request, limits, logitDefaults);
  const topP = request.top_p ?? defaults.topP ?? 1;
  const topK = Math.max(request.top_k ?? defaults.topK ?? 0, 0);
  const seed = toSeed(request.seed) ?? context.nextSeed();
  return Array.from({ length: request.n ?? 1 }, (_, i) => ({
    maxTokens,
    temperature: request.temperature ?? defaults.temperature ?? 1,
    // A nucleus of probability 0 still holds its likeliest token, and nothing else.
    topK: topP === 0 ? 1 : topK,
    topP: topP === 0 ? 1 : topP,
    minP: request.min_p ?? defaults.minP ?? 0,
    seed: seedOfSample(seed, i),
    stopTokenIds,
    ...logitParams,
    ...(numLogprobs === undefined ? {} : { numLogprobs }),
  }));
}

/**
 * Negative seeds stay distinct from the others; -1 asks for a random one, as in vLLM and llama.cpp.
 */
function toSeed(seed: number | null | undefined): number | undefined {
  if (seed === undefined || seed === null || seed === -1) return undefined;
  return seed < 0 ? seed + NUM_SEEDS : seed;
}

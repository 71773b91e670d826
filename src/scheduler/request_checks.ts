import { omitUndefined } from "../base/omit_undefined.ts";
import { answerRoom, checkPromptFits } from "../core/context_limit.ts";
import type { SchedulingPolicyName } from "../core/engine_config.ts";
import { RequestError } from "../core/errors.ts";
import type { GenerationRequest } from "../core/generation.ts";
import {
  describeBeams,
  describePool,
  detailsOfBeams,
  type PoolSize,
  poolTokens,
} from "./pool_errors.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";

/** The limits that a request is held against when it is submitted. */
export interface RequestLimits extends
  PoolSize,
  Pick<
    SchedulerOptions,
    "maxModelLen" | "maxNumQueuedSeqs" | "maxNumSeqs" | "maxNumBatchedTokens" | "vocabSize"
  > {
  /** Blocks that the pool may grow to by itself; no more than `numBlocks` where it may not. */
  readonly maxNumBlocks: number;
  /** Blocks that the beams of a search take at least; absent: those of one full group. */
  readonly numSlabsOfSearch?: (numPromptTokens: number, width: number) => number;
}

/**
 * Refuses a request that could not run here at any time.
 *
 * @throws {RequestError} (400) with the numbers, by the first of the checks below that fails.
 */
export function checkRequest(
  request: GenerationRequest,
  limits: RequestLimits,
  policy: SchedulingPolicyName | undefined,
): void {
  checkQueueable(request, limits);
  checkFits(request, limits);
  checkTokens(request, limits);
  checkSearchFits(request, limits);
  checkRequestPriority(request, policy);
}

/**
 * Refuses a request that has more sequences than may ever wait, by their number alone. Endpoints
 * refuse most of these before they tokenize; this check holds for whoever asks.
 *
 * @throws {RequestError} with status 400 and the numbers.
 */
export function checkQueueable(request: GenerationRequest, limits: RequestLimits): void {
  const { length } = request.sequences;
  const { maxNumQueuedSeqs: limit } = limits;
  if (length <= limit) return;
  throw new RequestError(
    `The request has ${length} sequences, prompts times n, but --max-queued-requests allows ${limit}`,
    { code: "too_many_sequences", param: "n", details: { n_sequences: length, limit } },
  );
}

/**
 * Refuses a request with a prompt that does not fit the model's context, or the pool. Only prompts
 * count: the length of an answer is known when it ends.
 *
 * @throws {RequestError} with the numbers.
 */
export function checkFits(request: GenerationRequest, limits: RequestLimits): void {
  const { maxModelLen } = limits;
  const numPoolTokens = poolTokens(limits);
  for (const { prompt, params } of request.sequences) {
    const numPromptTokens = prompt.length;
    if (params.maxTokens === 0) checkPromptFits(numPromptTokens, "prompt", maxModelLen);
    else answerRoom(numPromptTokens, "prompt", maxModelLen);
    if (numPromptTokens > numPoolTokens) {
      throw new RequestError(
        `The prompt has ${numPromptTokens} tokens, but ${describePool(limits)}`,
        {
          code: "kv_cache_exceeded",
          details: { n_prompt_tokens: numPromptTokens, n_kv_cache_tokens: numPoolTokens },
        },
      );
    }
  }
}

/**
 * Refuses a prompt with tokens that the model has no embedding for: some were perhaps added to its
 * tokenizer after training.
 *
 * @throws {RequestError} with the token.
 */
export function checkTokens(
  { sequences }: GenerationRequest,
  { vocabSize = Infinity }: Pick<RequestLimits, "vocabSize">,
): void {
  for (const { prompt } of sequences) {
    const at = prompt.findIndex((token) => token >= vocabSize);
    if (at === -1) continue;
    throw new RequestError(
      `Token ${at} of the prompt is ${prompt[at]}, which the tokenizer has, but not the model: ` +
        `it has ${vocabSize} tokens`,
      { code: "token_not_in_model" },
    );
  }
}

/**
 * Refuses a search whose beams could never advance in one step, or never hold their blocks at once.
 *
 * Counted is the least that they take: each beam shares the whole blocks of the prompt and has one
 * more of its own. A prompt has to fit the pool as it is, beams the pool as far as it may grow.
 *
 * @throws {RequestError} with the numbers.
 */
export function checkSearchFits(request: GenerationRequest, limits: RequestLimits): void {
  const { beamSearch, sequences } = request;
  if (beamSearch === undefined) return;
  const { width } = beamSearch;
  const { maxNumSeqs, maxNumBatchedTokens, maxModelLen, blockSize } = limits;
  const { numSlabsOfSearch = (length) => Math.floor(length / blockSize) + width } = limits;
  const maxWidth = Math.min(maxNumSeqs, maxNumBatchedTokens);
  if (width > maxWidth) {
    throw new RequestError(
      `A search of ${width} beams needs ${width} sequences in one step, but a step of this server has ` +
        `at most ${maxNumSeqs} sequences and ${maxNumBatchedTokens} tokens`,
      { code: "too_many_beams", param: "n", details: { n_beams: width, limit: maxWidth } },
    );
  }
  const largest = largestPool(limits);
  for (const { prompt: { length }, params } of sequences) {
    const canFork = Math.min(params.maxTokens, maxModelLen - length) > 1;
    const numNeeded = canFork ? numSlabsOfSearch(length, width) : 0;
    if (numNeeded > largest.numBlocks) {
      const beams = { numBeams: width, numTokens: length + 1, numNeeded };
      const grown = limits.maxNumBlocks > limits.numBlocks ? " when it has grown" : "";
      throw new RequestError(describeBeams(beams, largest) + grown, {
        code: "kv_cache_exceeded",
        details: detailsOfBeams(beams, largest),
      });
    }
  }
}

/** The pool as far as it may grow. How many tokens several groups have then, nobody has counted. */
function largestPool(
  { blockSize, numBlocks, maxNumBlocks, numPoolTokens, cacheGroups }: RequestLimits,
): PoolSize {
  const size = { blockSize, ...omitUndefined({ cacheGroups }) };
  return maxNumBlocks > numBlocks
    ? { ...size, numBlocks: maxNumBlocks }
    : { ...size, numBlocks, ...omitUndefined({ numPoolTokens }) };
}

/**
 * Refuses a priority of the request's own where the policy does not go by it.
 *
 * @throws {RequestError} with status 400.
 */
function checkRequestPriority(
  { requestPriority = 0 }: GenerationRequest,
  policy: SchedulingPolicyName = "fcfs",
): void {
  if (requestPriority === 0 || policy === "priority") return;
  throw new RequestError(
    `priority must be 0 or absent, got ${requestPriority}: this server schedules by ${policy} and not by ` +
      `priority (--scheduling-policy)`,
    { code: "unsupported_parameter", param: "priority" },
  );
}

/** The limit of a queue, and its speed. */
export interface QueueLimits extends Pick<RequestLimits, "maxNumQueuedSeqs"> {
  /** Seconds until so many places in the queue of an owner are free. */
  readonly secondsUntil: (numPlaces: number) => number;
}

/**
 * Refuses a request while too many of its owner's sequences wait already.
 *
 * @throws {RequestError} with status 429, the numbers, and when to try again.
 */
export function checkQueueHasRoom(
  request: GenerationRequest,
  numWaiting: number,
  limits: QueueLimits,
): void {
  const numAsked = request.sequences.length;
  if (numWaiting + numAsked <= limits.maxNumQueuedSeqs) return;
  const numLacking = numWaiting + numAsked - limits.maxNumQueuedSeqs;
  const seconds = limits.secondsUntil(numLacking);
  const whose = request.owner === undefined ? "" : " of this API key";
  throw new RequestError(
    `The queue is full: ${numWaiting} sequences${whose} wait, ${numAsked} more would exceed the limit ` +
      `of ${limits.maxNumQueuedSeqs}; try again in ${seconds} s`,
    {
      status: 429,
      type: "rate_limit_error",
      code: "queue_full",
      details: {
        n_waiting: numWaiting,
        n_asked: numAsked,
        limit: limits.maxNumQueuedSeqs,
        retry_after_seconds: seconds,
      },
    },
  );
}

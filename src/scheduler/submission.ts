import { answerRoom, checkPromptFits } from "../core/context_limit.ts";
import type { SchedulingPolicyName } from "../core/engine_config.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";
import type { GenerationRequest } from "../core/generation.ts";

/** The size of the KV pool. */
export interface PoolSize {
  readonly numBlocks: number;
  /** Token positions per block. */
  readonly blockSize: number;
  /** Tokens of one sequence that the pool holds; absent: those of all its blocks. */
  readonly numPoolTokens?: number;
}

/** The limits that a request is held against when it is submitted. */
export interface SubmissionLimits extends PoolSize {
  /** Blocks that the pool may grow to by itself; no more than `numBlocks` where it may not. */
  readonly maxNumBlocks: number;
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /** Most sequences of one owner waiting for admission, and so the most of one request. */
  readonly maxNumQueuedSeqs: number;
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  /** Tokens that the model has an embedding for; absent: not checked. */
  readonly vocabSize?: number;
  /** Blocks that the beams of a search take at least; absent: those of one full group. */
  readonly numBlocksOfSearch?: (numPromptTokens: number, width: number) => number;
}

/**
 * Refuses a request for what it is, whatever else there is.
 *
 * @throws {RequestError} (400) with the numbers, by the first of the checks below that fails.
 */
export function checkRequest(
  request: GenerationRequest,
  limits: SubmissionLimits,
  policy: SchedulingPolicyName | undefined,
): void {
  checkNumSequences(request, limits);
  checkFits(request, limits);
  checkTokens(request, limits);
  checkSearchFits(request, limits);
  checkUrgency(request, policy);
}

/**
 * Refuses a request of which some sequence could never run, however long it waited.
 *
 * Only the prompt counts: the length of the answer is known when it ends.
 *
 * @throws {RequestError} with the numbers.
 */
export function checkFits(request: GenerationRequest, limits: SubmissionLimits): void {
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
 * Refuses a prompt with tokens that the model has no embedding for, as tokenizers have them to
 * which tokens were added after training.
 *
 * @throws {RequestError} with the token.
 */
export function checkTokens(
  { sequences }: GenerationRequest,
  { vocabSize = Infinity }: Pick<SubmissionLimits, "vocabSize">,
): void {
  for (const { prompt } of sequences) {
    const at = prompt.findIndex((token) => token >= vocabSize);
    if (at === -1) continue;
    throw new RequestError(
      `Token ${at} of the prompt is ${
        prompt[at]
      }, which the tokenizer has, but not the model: it ` +
        `has ${vocabSize} tokens`,
      { code: "token_not_in_model" },
    );
  }
}

/**
 * Refuses a search whose beams could never advance in one step, or never hold their blocks at once.
 *
 * As for prompts, what counts is the least: each beam shares the whole blocks of the prompt and has
 * one more of its own. Unlike one prompt, which the pool holds at any size, they may need it to
 * grow first.
 *
 * @throws {RequestError} with the numbers.
 */
export function checkSearchFits(request: GenerationRequest, limits: SubmissionLimits): void {
  const { beamSearch, sequences } = request;
  if (beamSearch === undefined) return;
  const { width } = beamSearch;
  const { maxNumSeqs, maxNumBatchedTokens, maxModelLen, blockSize } = limits;
  const { numBlocksOfSearch = (length) => Math.floor(length / blockSize) + width } = limits;
  const maxWidth = Math.min(maxNumSeqs, maxNumBatchedTokens);
  if (width > maxWidth) {
    throw new RequestError(
      `A search of ${width} beams needs ${width} sequences in one step, but a step of this server has ` +
        `at most ${maxNumSeqs} sequences and ${maxNumBatchedTokens} tokens`,
      { code: "too_many_beams", param: "n", details: { n_beams: width, limit: maxWidth } },
    );
  }
  const largest = { blockSize, numBlocks: Math.max(limits.numBlocks, limits.maxNumBlocks) };
  for (const { prompt: { length }, params } of sequences) {
    const canBranch = Math.min(params.maxTokens, maxModelLen - length) > 1;
    const numNeeded = canBranch ? numBlocksOfSearch(length, width) : 0;
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

/** The refusal to clear the prefix cache while `numSequences` hold blocks of it. */
export function cacheInUse(numSequences: number): RequestError {
  return new RequestError(
    `The prefix cache is in use: ${numSequences} running sequences hold blocks; ask to preempt them, ` +
      `or wait until they end`,
    { status: 409, code: "prefix_cache_in_use", details: { n_sequences: numSequences } },
  );
}

/** The pool is too small for the next token of the only running sequence. */
export function cannotGrow(numTokens: number, pool: PoolSize, numPinnedBlocks: number): ErrorData {
  const what = `The sequence has grown to ${numTokens} tokens`;
  return outOfRoom(what, numTokens, { pool, numPinnedBlocks });
}

/** The pool is too small for a sequence that would run alone, since prefixes are pinned. */
export function cannotAdmit(numTokens: number, pool: PoolSize, numPinnedBlocks: number): ErrorData {
  return outOfRoom(`The sequence has ${numTokens} tokens`, numTokens, { pool, numPinnedBlocks });
}

/** The blocks that the beams of a search take together. */
export interface BeamsInBlocks {
  readonly numBeams: number;
  /** Tokens of each beam. */
  readonly numTokens: number;
  /** Blocks of all of them, shared ones counted once. */
  readonly numNeeded: number;
}

/** The pool is too small for the beams of the only running search. */
export function beamsCannotGrow(
  beams: BeamsInBlocks,
  pool: PoolSize,
  numPinnedBlocks: number,
): ErrorData {
  const message = describeBeams(beams, pool) + describePinned(numPinnedBlocks);
  const details = detailsOfBeams(beams, pool);
  return new RequestError(message, { code: "kv_cache_exceeded", details }).data;
}

function describeBeams({ numBeams, numTokens, numNeeded }: BeamsInBlocks, pool: PoolSize): string {
  return `The ${numBeams} beams of the search have ${numTokens} tokens each, which take ${numNeeded} ` +
    `blocks together, but ${describePool(pool)}`;
}

function detailsOfBeams({ numBeams, numNeeded }: BeamsInBlocks, { numBlocks }: PoolSize) {
  return { n_beams: numBeams, n_blocks: numNeeded, n_kv_cache_blocks: numBlocks };
}

function describePinned(numPinnedBlocks: number): string {
  return numPinnedBlocks > 0 ? `, and ${numPinnedBlocks} of these blocks are pinned` : "";
}

function outOfRoom(
  what: string,
  numTokens: number,
  { pool, numPinnedBlocks }: { readonly pool: PoolSize; readonly numPinnedBlocks: number },
): ErrorData {
  const isPinned = numPinnedBlocks > 0;
  const details = {
    n_tokens: numTokens,
    n_kv_cache_tokens: poolTokens(pool),
    ...(isPinned ? { n_pinned_tokens: numPinnedBlocks * pool.blockSize } : {}),
  };
  return new RequestError(`${what}, but ${describePool(pool)}${describePinned(numPinnedBlocks)}`, {
    code: "kv_cache_exceeded",
    details,
  }).data;
}

function poolTokens({ numBlocks, blockSize, numPoolTokens }: PoolSize): number {
  return numPoolTokens ?? numBlocks * blockSize;
}

function describePool(pool: PoolSize): string {
  const { numBlocks, blockSize } = pool;
  return `the whole KV cache holds ${poolTokens(pool)} (${numBlocks} blocks of ${blockSize})`;
}

/**
 * Refuses a request that has more sequences than may ever wait. It looks at nothing but their
 * number.
 *
 * @throws {RequestError} with status 400 and the numbers.
 */
export function checkNumSequences(request: GenerationRequest, limits: SubmissionLimits): void {
  const { length } = request.sequences;
  const { maxNumQueuedSeqs: limit } = limits;
  if (length <= limit) return;
  throw new RequestError(
    `The request has ${length} sequences, prompts times n, but --max-queued-requests allows ${limit}`,
    { code: "too_many_sequences", param: "n", details: { n_sequences: length, limit } },
  );
}

/**
 * Refuses a priority of the request's own where the policy does not go by it.
 *
 * @throws {RequestError} with status 400.
 */
export function checkUrgency(
  { urgency = 0 }: GenerationRequest,
  policy: SchedulingPolicyName = "fcfs",
): void {
  if (urgency === 0 || policy === "priority") return;
  throw new RequestError(
    `priority must be 0 or absent, got ${urgency}: this server schedules by ${policy} and not by ` +
      `priority (--scheduling-policy)`,
    { code: "unsupported_parameter", param: "priority" },
  );
}

/** The limit of a queue, and its speed. */
export interface QueueLimits extends Pick<SubmissionLimits, "maxNumQueuedSeqs"> {
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

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import { fitMaxTokens } from "../../src/http/prompt/prompt_limits.ts";
import {
  checkFits,
  checkQueueable,
  checkQueueHasRoom,
  checkSearchFits,
  checkTokens,
} from "../../src/scheduler/request_checks.ts";
import { requestOf } from "../support/requests.ts";

const LIMITS = {
  maxModelLen: 20,
  numBlocks: 4,
  blockSize: 4,
  maxNumBlocks: 0,
  maxNumQueuedSeqs: 3,
  maxNumSeqs: 6,
  maxNumBatchedTokens: 5,
};

/** Ten seconds for every place in the queue. */
const QUEUE = { ...LIMITS, secondsUntil: (numPlaces: number) => 10 * numPlaces };

/** A search of `width` beams from a prompt of `numPromptTokens`. */
function searchOf(numPromptTokens: number, width: number, maxTokens = 4) {
  const beamSearch = { width, lengthPenalty: 1, earlyStopping: true };
  return { ...requestOf("a", numPromptTokens, { maxTokens }), beamSearch };
}

Deno.test("checkFits() accepts a prompt that fills the pool to its last slot", () => {
  checkFits(requestOf("a", 16), LIMITS);
});

Deno.test("checkFits() refuses a prompt larger than the pool, with the numbers", () => {
  const { data } = assertThrows(() => checkFits(requestOf("a", 17), LIMITS), RequestError);
  assertEquals([data.status, data.code], [400, "kv_cache_exceeded"]);
  assertEquals(data.details, { n_prompt_tokens: 17, n_kv_cache_tokens: 16 });
  assertStringIncludes(data.message, "17 tokens, but the whole KV cache holds 16 (4 blocks of 4)");
});

Deno.test("checkTokens() refuses a token that the model has no embedding for", () => {
  const request = requestOf("a", 3);
  const last = Math.max(...request.sequences[0]!.prompt);
  checkTokens(request, { vocabSize: last + 1 });
  checkTokens(request, {});
  const { data } = assertThrows(() => checkTokens(request, { vocabSize: last }), RequestError);
  assertEquals([data.status, data.code], [400, "token_not_in_model"]);
  assertStringIncludes(data.message, `of the prompt is ${last}, which the tokenizer has`);
});

Deno.test("checkFits() leaves room for one token of answer in the model's context", () => {
  const limits = { ...LIMITS, maxModelLen: 10 };
  checkFits(requestOf("a", 9), limits);
  const { data } = assertThrows(() => checkFits(requestOf("a", 10), limits), RequestError);
  assertEquals([data.status, data.code], [400, "context_length_exceeded"]);
  assertEquals(data.details, { n_prompt_tokens: 10, n_ctx: 10 });
});

Deno.test("checkFits() looks at every sequence of a request", () => {
  const sequences = [...requestOf("a", 1).sequences, ...requestOf("a", 17).sequences];
  assertThrows(() => checkFits({ id: "a", sequences }, LIMITS), RequestError, "17 tokens");
});

Deno.test("checkFits() refuses an empty prompt", () => {
  assertThrows(() => checkFits(requestOf("a", 0), LIMITS), RequestError, "got none");
});

Deno.test("checkFits() refuses a prompt's length as the HTTP door does, word for word", () => {
  for (const count of [0, 10, 11]) {
    const asked = { maxTokens: undefined, fallback: 1 };
    const limits = { ...LIMITS, maxModelLen: 10 };
    const atDoor = assertThrows(() => fitMaxTokens(count, "prompt", 10, asked), RequestError);
    const inEngine = assertThrows(() => checkFits(requestOf("a", count), limits), RequestError);
    assertEquals(inEngine.data, atDoor.data);
  }
});

Deno.test("checkQueueHasRoom() refuses with 429 and the numbers what would exceed the limit", () => {
  checkQueueHasRoom(requestOf("a", 1), 2, QUEUE);
  const { data } = assertThrows(
    () => checkQueueHasRoom(requestOf("a", 1), 3, QUEUE),
    RequestError,
  );
  assertEquals([data.status, data.code], [429, "queue_full"]);
  const retry_after_seconds = 10;
  assertEquals(data.details, { n_waiting: 3, n_asked: 1, limit: 3, retry_after_seconds });
});

Deno.test("checkQueueHasRoom() says that it is the API key's own queue where there is one", () => {
  assertThrows(
    () => checkQueueHasRoom({ ...requestOf("a", 1), owner: "k" }, 3, QUEUE),
    RequestError,
    "3 sequences of this API key wait",
  );
});

Deno.test("checkNumSequences() refuses more sequences than may ever wait, with the numbers", () => {
  const [sequence] = requestOf("a", 1).sequences;
  checkQueueable({ id: "a", sequences: Array(3).fill(sequence) }, LIMITS);
  const { data } = assertThrows(
    () => checkQueueable({ id: "a", sequences: Array(4).fill(sequence) }, LIMITS),
    RequestError,
  );
  assertEquals([data.status, data.code, data.param], [400, "too_many_sequences", "n"]);
  assertEquals(data.details, { n_sequences: 4, limit: 3 });
  assertStringIncludes(data.message, "4 sequences, prompts times n, but --max-queued-requests");
});

Deno.test("checkSearchFits() refuses more beams than a step has sequences or tokens", () => {
  checkSearchFits(searchOf(1, 4), LIMITS);
  checkSearchFits(requestOf("a", 16), LIMITS);
  const { data } = assertThrows(() => checkSearchFits(searchOf(1, 6), LIMITS), RequestError);
  assertEquals([data.status, data.code, data.param], [400, "too_many_beams", "n"]);
  assertEquals(data.details, { n_beams: 6, limit: 5 });
  assertStringIncludes(data.message, "at most 6 sequences and 5 tokens");
});

Deno.test("checkSearchFits() counts a block of its own for each beam beside the prompt's whole ones", () => {
  checkSearchFits(searchOf(7, 3), LIMITS);
  const { data } = assertThrows(() => checkSearchFits(searchOf(8, 3), LIMITS), RequestError);
  assertEquals([data.status, data.code], [400, "kv_cache_exceeded"]);
  assertEquals(data.details, { n_beams: 3, n_blocks: 5, n_kv_cache_blocks: 4 });
  assertStringIncludes(
    data.message,
    "3 beams of the search have 9 tokens each, which take 5 blocks",
  );
  checkSearchFits(searchOf(16, 4, 1), LIMITS);
});

Deno.test("checkSearchFits() holds a search against the pool as it may grow", () => {
  const growing = { ...LIMITS, maxNumBlocks: 6 };
  checkSearchFits(searchOf(8, 4), growing);
  const { data } = assertThrows(() => checkSearchFits(searchOf(12, 4), growing), RequestError);
  assertEquals(data.details, { n_beams: 4, n_blocks: 7, n_kv_cache_blocks: 6 });
  assertStringIncludes(
    data.message,
    "the whole KV cache holds 24 (6 blocks of 4) when it has grown",
  );
  assertThrows(() => checkSearchFits(searchOf(8, 3), { ...LIMITS, maxNumBlocks: 3 }), RequestError);
});

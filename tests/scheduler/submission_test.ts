import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import {
  cacheInUse,
  cannotAdmit,
  cannotGrow,
  checkFits,
  checkQueueHasRoom,
} from "../../src/scheduler/submission.ts";
import { requestOf } from "../support/requests.ts";

const LIMITS = { maxModelLen: 20, numBlocks: 4, blockSize: 4, maxNumWaitingSeqs: 3 };

Deno.test("checkFits() accepts a prompt that fills the pool to its last slot", () => {
  checkFits(requestOf("a", 16), LIMITS);
});

Deno.test("checkFits() refuses a prompt larger than the pool, with the numbers", () => {
  const { data } = assertThrows(() => checkFits(requestOf("a", 17), LIMITS), RequestError);
  assertEquals([data.status, data.code], [400, "kv_cache_exceeded"]);
  assertEquals(data.details, { n_prompt_tokens: 17, n_kv_cache_tokens: 16 });
  assertStringIncludes(data.message, "17 tokens, but the whole KV cache holds 16 (4 blocks of 4)");
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
  assertThrows(() => checkFits(requestOf("a", 0), LIMITS), RequestError, "no tokens");
});

Deno.test("checkQueueHasRoom() refuses with 429 and the numbers what would exceed the limit", () => {
  checkQueueHasRoom(requestOf("a", 1), 2, LIMITS);
  const { data } = assertThrows(
    () => checkQueueHasRoom(requestOf("a", 1), 3, LIMITS),
    RequestError,
  );
  assertEquals([data.status, data.code], [429, "queue_full"]);
  assertEquals(data.details, { n_waiting: 3, n_asked: 1, limit: 3 });
});

Deno.test("checkQueueHasRoom() takes a wide request when nobody waits, not when someone does", () => {
  const sequences = Array.from({ length: 5 }, () => requestOf("a", 1).sequences[0]!);
  checkQueueHasRoom({ id: "a", sequences }, 0, LIMITS);
  assertThrows(() => checkQueueHasRoom({ id: "a", sequences }, 1, LIMITS), RequestError, "full");
});

Deno.test("cannotGrow() tells how much was needed and how much there is", () => {
  const error = cannotGrow(17, { numBlocks: 4, blockSize: 4 }, 0);
  assertEquals([error.status, error.code], [400, "kv_cache_exceeded"]);
  assertEquals(error.details, { n_tokens: 17, n_kv_cache_tokens: 16 });
  assertStringIncludes(error.message, "grown to 17 tokens");
});

Deno.test("cannotAdmit() and cannotGrow() tell what is pinned", () => {
  for (const refuse of [cannotAdmit, cannotGrow]) {
    const error = refuse(12, { numBlocks: 4, blockSize: 4 }, 2);
    assertEquals(error.details, { n_tokens: 12, n_kv_cache_tokens: 16, n_pinned_tokens: 8 });
    assertStringIncludes(error.message, "12 tokens, but the whole KV cache holds 16");
    assertStringIncludes(error.message, "2 of these blocks are pinned");
  }
});

Deno.test("cacheInUse() says how many sequences hold blocks", () => {
  const { data } = cacheInUse(3);
  assertEquals([data.status, data.details], [409, { n_sequences: 3 }]);
  assertStringIncludes(data.message, "3 running sequences");
});

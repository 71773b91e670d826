import { assertEquals } from "@std/assert";
import { OutOfBlocksError, RequestError } from "../../src/core/errors.ts";

Deno.test("RequestError carries plain data that survives an isolate boundary", () => {
  const { data } = new RequestError("Too long", {
    code: "context_length_exceeded",
    param: "prompt",
  });
  assertEquals(structuredClone(data), {
    status: 400,
    type: "invalid_request_error",
    code: "context_length_exceeded",
    message: "Too long",
    param: "prompt",
  });
});

Deno.test("OutOfBlocksError says what was asked and what was there", () => {
  assertEquals(new OutOfBlocksError(5, 2).message, "Cannot allocate 5 KV blocks: 2 are free");
});

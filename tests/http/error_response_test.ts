import { assert, assertEquals } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import { errorBody, isServerFailure, toErrorData } from "../../src/http/error_response.ts";
import { CHAT, testServer } from "./server.ts";

Deno.test("errorBody() has OpenAI's four fields and the details beside them", () => {
  const error = new RequestError("Too long", {
    code: "context_length_exceeded",
    param: "prompt",
    details: { n_ctx: 5, message: "not this one" },
  });
  assertEquals(errorBody(error.data), {
    error: {
      n_ctx: 5,
      message: "Too long",
      type: "invalid_request_error",
      param: "prompt",
      code: "context_length_exceeded",
    },
  });
});

Deno.test("toErrorData() tells a client nothing of a failure's insides", () => {
  const data = toErrorData(new TypeError("cannot read /home/me/secret"));
  assertEquals([data.status, data.type, data.code], [500, "server_error", "internal_error"]);
  assert(!JSON.stringify(data).includes("secret"));
  assert(isServerFailure(new TypeError("x")));
  assert(!isServerFailure(new RequestError("x")));
  assert(!isServerFailure(new RequestError("x", { status: 500 })));
  assert(!isServerFailure(new EngineUnavailableError("x")));
});

Deno.test("errorResponse() answers a full queue with 429 and Retry-After", async () => {
  const server = testServer();
  server.engine.refusal = new RequestError("256 sequences are waiting, the limit is 256", {
    status: 429,
    type: "rate_limit_error",
    code: "queue_full",
  });
  for (const stream of [false, true]) {
    const response = await server.post("/v1/chat/completions", { ...CHAT, stream });
    assertEquals([response.status, response.headers.get("retry-after")], [429, "1"]);
    assertEquals((await response.json()).error.code, "queue_full");
  }
});

Deno.test("errorResponse() answers an unavailable engine with 503 and Retry-After", async () => {
  const server = testServer();
  server.engine.refusal = new EngineUnavailableError("The engine is restarting");
  const response = await server.post("/v1/completions", { prompt: "a", stream: true });
  assertEquals([response.status, response.headers.get("retry-after")], [503, "5"]);
  assertEquals((await response.json()).error, {
    message: "The engine is restarting",
    type: "server_error",
    param: null,
    code: "engine_unavailable",
  });
});

Deno.test("errorResponse() passes on what the engine says of a sequence, logged as one line without a stack", async () => {
  const server = testServer();
  const error = {
    ...{ status: 500, type: "server_error", code: "nonfinite_logits", param: null },
    message: "Not finite",
    details: { layer: 3 },
  };
  server.engine.override = ({ requestId }) => ({
    requestId,
    index: 0,
    finishReason: "error",
    error,
  });
  const { message, type, code, param } = error;
  const body = { error: { layer: 3, message, type, param, code } };
  const whole = await server.post("/v1/chat/completions", CHAT, { "x-request-id": "req-8" });
  assertEquals([whole.status, await whole.json()], [500, body]);
  const stream = await server.post("/v1/chat/completions", { ...CHAT, stream: true });
  assert((await stream.text()).includes(`data: ${JSON.stringify(body)}`));
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
  const lines = server.log.filter(({ message }) => message === "generation failed");
  assertEquals(lines.map(({ level, code }) => [level, code]), [
    ["warn", "nonfinite_logits"],
    ["warn", "nonfinite_logits"],
  ]);
  assertEquals([lines[0]?.request_id, lines[0]?.reason], ["req-8", "Not finite"]);
});

Deno.test("errorResponse() hides a bug from the client and logs it under the request id", async () => {
  const server = testServer();
  server.engine.refusal = new TypeError("deep inside");
  const response = await server.post("/v1/chat/completions", CHAT, { "x-request-id": "req-7" });
  assertEquals([response.status, response.headers.get("x-request-id")], [500, "req-7"]);
  const text = await response.text();
  assert(!text.includes("deep inside") && !text.includes(".ts"));
  const line = server.log.find(({ level }) => level === "error");
  assertEquals([line?.request_id, String(line?.error).includes("deep inside")], ["req-7", true]);
});

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../src/core/errors.ts";
import { testServer } from "./server.ts";
import { checkMessageStream, MessageError, MessageObject } from "../support/messages_format.ts";
import { checkResponseStream, ResponseObject } from "../support/responses_format.ts";
import { OllamaChat, OllamaError, OllamaGenerate, readLines } from "../support/ollama_format.ts";
import { runs, times } from "../support/runs.ts";

const STATUSES = new Set([200, 400, 404, 405, 413, 415, 429, 503]);

const BODIES: Record<string, object> = {
  "/v1/chat/completions": {
    model: "alias",
    messages: [{ role: "system", content: "s" }, {
      role: "user",
      content: [{ type: "text", text: "u" }],
    }],
    temperature: 0.5,
    top_p: 0.9,
    top_k: 5,
    seed: 1,
    n: 2,
    stop: ["l"],
    logprobs: true,
    top_logprobs: 2,
    stream: true,
    stream_options: { include_usage: true },
    response_format: {
      type: "json_schema",
      json_schema: { name: "a", schema: { type: "object", properties: { a: { type: "null" } } } },
    },
    logit_bias: {},
    tools: [{
      type: "function",
      function: { name: "f", description: "d", parameters: { type: "object", properties: {} } },
    }],
    tool_choice: "auto",
    parallel_tool_calls: true,
    chat_template_kwargs: {},
    reasoning_effort: "none",
    include_reasoning: true,
    prompt_logprobs: null,
    timings_per_token: false,
  },
  "/v1/completions": {
    prompt: ["a", [1, 2]],
    max_tokens: 4,
    n: 2,
    stop: "x",
    logprobs: 1,
    best_of: 2,
    stop_token_ids: [3],
    return_token_ids: true,
    echo: true,
    prompt_logprobs: 1,
    n_predict: 4,
    suffix: "",
    timings: true,
    cache_prompt: true,
    structured_outputs: { choice: ["a", "b"], regex: null },
  },
  "/v1/responses": {
    model: "alias",
    instructions: "i",
    input: [
      { role: "developer", content: "d" },
      { type: "message", role: "user", content: [{ type: "input_text", text: "u" }] },
      { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "t" }] },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: [{ type: "input_text", text: "o" }] },
      { role: "assistant", content: [{ type: "output_text", text: "a", annotations: [] }] },
    ],
    tools: [{ type: "function", name: "f", parameters: { type: "object", properties: {} } }],
    tool_choice: { type: "function", name: "f" },
    parallel_tool_calls: false,
    reasoning: { effort: "none", summary: "auto" },
    text: { format: { type: "text" }, verbosity: "medium" },
    include: ["reasoning.encrypted_content"],
    max_output_tokens: 9,
    temperature: 1,
    metadata: { a: "b" },
    store: true,
    stream: true,
    stream_options: { include_obfuscation: false },
    truncation: "disabled",
    top_k: 3,
  },
  "/v1/responses/input_tokens": { input: [{ role: "user", content: "u" }], instructions: "i" },
  "/v1/messages": {
    model: "alias",
    max_tokens: 9,
    system: [{ type: "text", text: "s", cache_control: { type: "ephemeral" } }],
    messages: [
      { role: "user", content: [{ type: "text", text: "u" }] },
      {
        role: "assistant",
        content: [{ type: "thinking", thinking: "t", signature: "s" }, {
          ...{ type: "tool_use", id: "c", name: "f", input: { a: 1 } },
        }],
      },
      {
        role: "user",
        content: [{ type: "tool_result", tool_use_id: "c", content: "o", is_error: true }],
      },
    ],
    tools: [{ name: "f", description: "d", input_schema: { type: "object", properties: {} } }],
    tool_choice: { type: "auto", disable_parallel_tool_use: true },
    thinking: { type: "disabled" },
    output_config: { format: null, effort: "none" },
    stop_sequences: ["l"],
    temperature: 1,
    metadata: { user_id: "me" },
    stream: true,
    seed: 1,
  },
  "/v1/messages/count_tokens": { model: "alias", messages: [{ role: "user", content: "u" }] },
  "/api/chat": {
    model: "alias:latest",
    messages: [
      { role: "system", content: "s" },
      { role: "user", content: "u", images: [] },
      { role: "assistant", tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] },
      { role: "tool", tool_name: "f", content: "o" },
    ],
    tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
    options: { temperature: 1, num_predict: 9, num_ctx: 128, stop: ["l"], seed: 1, num_gpu: 1 },
    format: "",
    think: false,
    keep_alive: "5m",
    logprobs: true,
    top_logprobs: 2,
    stream: true,
  },
  "/api/generate": {
    model: "alias",
    prompt: "a",
    system: "s",
    raw: false,
    format: { type: "object", properties: { a: { type: "null" } } },
    options: { top_k: 3, repeat_penalty: 1.1, repeat_last_n: -1 },
    context: [],
    stream: false,
  },
  "/api/embed": { model: "alias", input: ["a", "b"], dimensions: 4, truncate: true, options: {} },
  "/api/embeddings": { model: "alias", prompt: "a", keep_alive: 0 },
  "/api/show": { model: "alias", verbose: true },
  "/v1/chat/completions/render": {
    messages: [{ role: "user", content: "u" }],
    add_generation_prompt: false,
    continue_final_message: false,
  },
  "/apply-template": { messages: [{ role: "user", content: "u" }] },
  "/v1/embeddings": {
    input: ["a", [1, 2]],
    encoding_format: "base64",
    dimensions: 4,
    normalize: true,
    cache_salt: "s",
  },
  "/v1/rerank": {
    query: "q",
    documents: ["a", { text: "b" }],
    top_n: 1,
    return_documents: true,
    instruction: "i",
  },
  "/tokenize": { prompt: "a", add_special_tokens: true, with_pieces: true },
  "/detokenize": { tokens: [1, 2, 3] },
};

/** Values that parsers and templates stumble over. */
const oddValue = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    0,
    -1,
    1.5,
    1e300,
    2 ** 53,
    -(2 ** 53),
    [],
    {},
    [[]],
    [null],
    true,
    "\ud83d",
    "\u0000",
    "x".repeat(2000),
    new Array(2000).fill(0),
    { __proto__: null, constructor: 1, toString: 2 },
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

type Change = (body: unknown) => unknown;

/** Walks `path` by ordinal at each level, so that any place of any body can be hit. */
function changeAt(value: unknown, path: readonly number[], change: Change): unknown {
  if (typeof value !== "object" || value === null || path.length === 0) return change(value);
  const keys = Object.keys(value);
  if (keys.length === 0) return change(value);
  const key = keys[path[0]! % keys.length]!;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value)
    ? [...value]
    : { ...value };
  (copy as Record<string, unknown>)[key] = changeAt(
    (value as Record<string, unknown>)[key],
    path.slice(1),
    change,
  );
  return copy;
}

const place = fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 4 });
const changes = fc.array(
  fc.oneof(
    fc.tuple(place, oddValue).map(([path, value]): Change => (b) => changeAt(b, path, () => value)),
    place.map((path): Change => (body) => changeAt(body, path, () => undefined)),
    fc.tuple(fc.string({ maxLength: 20 }), oddValue).map(([key, value]): Change => (body) =>
      typeof body === "object" && body !== null ? { ...body, [key]: value } : value
    ),
  ),
  { maxLength: 3 },
);
const requests = fc.record({
  path: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...Object.keys(BODIES)) },
    fc.constantFrom("/v1/models", "/v1/models/x%", "//tokenize", "/nothing", "/v1%2fcompletions"),
  ),
  method: fc.oneof({ weight: 9, arbitrary: fc.constant("POST") }, fc.constantFrom("GET", "PUT")),
  contentType: fc.oneof(
    { weight: 9, arbitrary: fc.constant("application/json") },
    fc.constantFrom("text/plain", "", "application/json;;", "json"),
  ),
  changes,
  /** Characters cut off the end of the body, or put in front of it. */
  cut: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat({ max: 30 })),
  prefix: fc.oneof({ weight: 9, arbitrary: fc.constant("") }, fc.string({ maxLength: 5 })),
  isFull: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
});

function checkError(path: string, body: { error?: Record<string, unknown> }): void {
  assert(!/\.ts\b|node_modules|\n\s+at /.test(JSON.stringify(body)), "a stack trace leaked");
  if (path.startsWith("/api/")) return void OllamaError.parse(body);
  if (path.startsWith("/v1/messages")) return void MessageError.parse(body);
  const { message, type, param, code } = body.error ?? {};
  assert(typeof message === "string" && message.length > 0);
  assert(typeof type === "string" && type.length > 0);
  assert(param === null || typeof param === "string");
  assert(code === null || typeof code === "string");
}

/** What an answer of a path has to be, whole and as the payloads of a stream. */
const FORMATS: Record<string, [(body: unknown) => void, (payloads: unknown[]) => void]> = {
  "/v1/responses": [(body) => ResponseObject.parse(body), checkResponseStream],
  "/api/chat": [(body) => OllamaChat.parse(body), () => {}],
  "/api/generate": [(body) => OllamaGenerate.parse(body), () => {}],
  "/v1/messages": [(body) => MessageObject.parse(body), checkMessageStream],
};

function checkAnswer(path: string, type: string | null, text: string): void {
  const [checkWhole, checkStream] = FORMATS[path] ?? [];
  if (type === "application/x-ndjson") {
    readLines(text, path === "/api/chat" ? OllamaChat : OllamaGenerate);
    return;
  }
  if (type?.startsWith("text/event-stream") !== true) {
    const body = JSON.parse(text);
    checkWhole?.(body);
    return;
  }
  assert(!text.includes('"error":{'));
  const payloads = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => data!);
  if (checkStream === undefined) assertEquals(payloads.pop(), "[DONE]");
  const values = payloads.map((data) => JSON.parse(data));
  checkStream?.(values);
}

Deno.test("createApp() answers any mutated request with a known status and a well-formed body", async () => {
  const server = testServer();
  const seen = new Set<number>();
  const seenPaths = new Set<string>();
  await fc.assert(
    fc.asyncProperty(requests, async (request) => {
      const { path, method, contentType, changes, cut, prefix, isFull } = request;
      server.engine.refusal = isFull
        ? new RequestError("Full", { status: 429, code: "queue_full" })
        : undefined;
      const mutated = changes.reduce<unknown>((body, change) => change(body), BODIES[path] ?? {});
      const json = prefix + (JSON.stringify(mutated) ?? "");
      const response = await server.request(path, {
        method,
        headers: { "content-type": contentType },
        ...(method === "GET" ? {} : { body: json.slice(0, json.length - cut) }),
      });
      seen.add(response.status);
      assert(STATUSES.has(response.status), `status ${response.status}`);
      const text = await response.text();
      if (response.status !== 200) checkError(path, JSON.parse(text));
      else {
        seenPaths.add(path);
        checkAnswer(path, response.headers.get("content-type"), text);
      }
      assertEquals((await server.request("/health")).status, 200);
    }),
    { seed: 29, numRuns: runs(4000) },
  );
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
  // A property that only ever saw refusals would prove little.
  for (const status of [200, 400, 404, 405, 415, 429]) {
    assert(seen.has(status) || times(1) === 0, `no ${status}`);
  }
  for (const path of Object.keys(BODIES)) {
    assert(seenPaths.has(path) || times(1) === 0, `${path} never answered`);
  }
});

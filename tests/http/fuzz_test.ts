import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../src/core/errors.ts";
import { testServer } from "./server.ts";
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

function checkError(body: { error?: Record<string, unknown> }): void {
  const { message, type, param, code } = body.error ?? {};
  assert(typeof message === "string" && message.length > 0);
  assert(typeof type === "string" && type.length > 0);
  assert(param === null || typeof param === "string");
  assert(code === null || typeof code === "string");
  assert(!/\.ts\b|node_modules|\n\s+at /.test(JSON.stringify(body)), "a stack trace leaked");
}

Deno.test("createApp() answers any mutated request with a known status and a well-formed body", async () => {
  const server = testServer();
  const seen = new Set<number>();
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
      if (response.status !== 200) checkError(JSON.parse(text));
      else if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
        assert(text.endsWith("data: [DONE]\n\n"));
        assert(!text.includes('"error"'));
      } else JSON.parse(text);
      assertEquals((await server.request("/health")).status, 200);
    }),
    { seed: 29, numRuns: runs(1500) },
  );
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
  // A property that only ever saw refusals would prove little.
  for (const status of [200, 400, 404, 405, 415, 429]) {
    assert(seen.has(status) || times(1) === 0, `no ${status}`);
  }
});

import { assert, assertEquals } from "@std/assert";
import type { KvDecision } from "../../../src/core/kv_decision.ts";
import { ServingMetrics } from "../../../src/http/metrics/serving_metrics.ts";
import type { EndedSpan } from "../../../src/http/traces/spans.ts";
import { FakeEngine } from "../fake_engine.ts";
import { CHAT, testServer } from "../server.ts";

/** A server that keeps its spans, and whose engine decides `decisions` at these Unix times. */
function spannedServer(decisions: readonly (KvDecision & { readonly timeMs: number })[]) {
  const engine = new FakeEngine();
  const spans: EndedSpan[] = [];
  let numHere = 0;
  const here = () => {
    numHere++;
    return (span: EndedSpan) => void spans.push(span);
  };
  const metrics = new ServingMetrics(engine, "m", { here });
  const server = testServer({ engine, metrics });
  engine.script = (_, { id: requestId }) => {
    engine.decisions.append(decisions.map((one) => ({ step: 1, index: 0, ...one, requestId })));
    return [72, 73];
  };
  return { server, engine, spans, numHere: () => numHere };
}

const WAY = [
  { type: "queue", sequenceId: 1, requestId: "", index: 0, numTokens: 5, timeMs: 1000 },
  { type: "wait", sequenceId: 1, reason: "tokens", limit: 8, timeMs: 1010 },
  { type: "admit", sequenceId: 1, numTokens: 5, numCachedTokens: 2, timeMs: 1200 },
  { type: "chunk", sequenceId: 1, start: 2, count: 3, timeMs: 1201 },
  { type: "first_token", sequenceId: 1, index: 0, timeMs: 1300 },
  { type: "preempt", sequenceId: 1, numBlocks: 1, timeMs: 1310 },
  { type: "admit", sequenceId: 1, numTokens: 6, numCachedTokens: 5, timeMs: 1350 },
] as const;

/** Names, times and events of spans. */
function shapeOf(spans: readonly EndedSpan[]) {
  return spans.map(({ name, startMs, endMs, events = [] }) =>
    [name, startMs, endMs, events.map((event) => event.name).join(" ")] as const
  );
}

Deno.test("a request's span has those of its parts, with the marks of their time as events", async () => {
  const finish = { type: "finish", sequenceId: 1, index: 0, reason: "stop", timeMs: 1400 } as const;
  const { server, spans } = spannedServer([...WAY, finish]);
  await server.post("/v1/chat/completions", CHAT);
  assertEquals(spans.map(({ name }) => name), ["chat quire/test"]);
  const [tokenize, ...parts] = spans[0]!.children!;
  assertEquals(tokenize!.name, "tokenize");
  assertEquals(shapeOf(parts), [
    ["queue", 1000, 1200, "queue wait"],
    ["prefill", 1200, 1300, "admit chunk"],
    ["decode", 1300, 1400, "first_token preempt admit finish"],
  ]);
  assertEquals(parts[1]!.attributes["gen_ai.usage.cache_read.input_tokens"], 2);
  assertEquals(parts[2]!.attributes["quire.preemptions"], 1);
  assertEquals(spans[0]!.error, undefined);
});

Deno.test("a span of an answer that breaks off ends with it, and tells of the error", async () => {
  const { server, engine, spans } = spannedServer(WAY);
  const error = {
    status: 500,
    type: "server_error",
    code: "engine_error",
    message: "no",
    param: null,
  };
  engine.override = (event, i) => i === 0 ? event : { ...event, finishReason: "error", error };
  await server.post("/v1/chat/completions", { ...CHAT, stream: true }).then((each) => each.text());
  const [span] = spans;
  assertEquals(span!.attributes["gen_ai.response.finish_reasons"], ["error"]);
  assert(span!.error !== undefined);
  assertEquals(span!.children!.at(-1)!.endMs, span!.endMs);
});

Deno.test("requests of every kind have a span, and refused ones have none of their own", async () => {
  const { server, spans, numHere } = spannedServer([]);
  await server.post("/v1/completions", { prompt: "Hi" });
  await server.post("/v1/embeddings", { input: "Hi" });
  await server.post("/v1/messages", { ...CHAT, model: "alias", max_tokens: 4 });
  await server.post("/v1/chat/completions", { messages: [] });
  assertEquals(spans.map(({ name }) => name), [
    "text_completion quire/test",
    "embeddings quire/test",
    "chat alias",
  ]);
  assertEquals(numHere(), 4);
});

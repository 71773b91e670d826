import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { explainCommand, explainRequest } from "../../src/commands/explain_command.ts";
import { StartupError } from "../../src/core/errors.ts";
import { explainHelp, parseExplainConfig } from "../../src/core/explain_config.ts";
import { ServingMetrics } from "../../src/http/metrics/serving_metrics.ts";
import { FakeText } from "../http/fake_text.ts";
import { testServer } from "../http/server.ts";
import { ModelledCacheEngine } from "../support/modelled_cache_engine.ts";

const SYSTEM = "The fox is told to be patient with everybody who asks at this door";

function request(question: string): string {
  const system = { role: "system", content: SYSTEM };
  return JSON.stringify([system, { role: "user", content: question }]);
}

/** A server whose engine finds what earlier prompts begin with, on a port of its own. */
function cachingServer(changes: Parameters<typeof testServer>[0] = {}) {
  const engine = new ModelledCacheEngine(new FakeText().vocabSize);
  const metrics = new ServingMetrics(engine, "m");
  const { app } = testServer({ engine, metrics, ...changes });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, app.fetch);
  return { server, engine, url: `127.0.0.1:${server.addr.port}` };
}

function explain(url: string, text: string, ...args: string[]): Promise<string> {
  return explainCommand(parseExplainConfig(["--url", url, ...args], {})!, text);
}

Deno.test("explainCommand() says what a prompt found, and why it found no more", async () => {
  const { server, url } = cachingServer();
  const first = await explain(url, request("Who are you?"));
  assertEquals(/^0 of \d+ tokens were found: .+$/.test(first), true, first);
  const second = await explain(url, request("Who are they?"), "--decisions");
  assertEquals(/^[1-9]\d* of \d+ tokens were found: .+$/.test(second), true, second);
  const body = JSON.stringify({ messages: JSON.parse(request("Who are you?")), stream: true });
  const { prompts } = JSON.parse(await explain(url, body, "--json"));
  assertEquals(prompts.length, 1);
  await server.shutdown();
});

Deno.test("explainCommand() refuses texts that are no requests, and other servers", async () => {
  const { server, url } = cachingServer();
  const refusal = async (text: string) =>
    (await assertRejects(() => explain(url, text), StartupError)).message;
  assertStringIncludes(await refusal("{"), "The request is no JSON");
  assertStringIncludes(await refusal('{"prompt": "a"}'), 'needs "messages"');
  assertStringIncludes(await refusal('{"messages": []}'), "answered 400");
  await server.shutdown();
  const other = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => Response.json({ choices: [] }),
  );
  const work = () => explain(`127.0.0.1:${other.addr.port}`, "[]");
  const { message } = await assertRejects(work, StartupError);
  assertStringIncludes(message, "it is no server of Quire's");
  await other.shutdown();
});

Deno.test("explainRequest() says what has happened to a request, and that one is unknown", async () => {
  const { server, url, engine } = cachingServer();
  const mark = { sequenceId: 1, requestId: "r", index: 1, step: 0 };
  engine.decisions.append([
    { ...mark, type: "queue", numTokens: 3, timeMs: 100 },
    { ...mark, type: "admit", numTokens: 3, numCachedTokens: 2, timeMs: 190 },
  ]);
  const ask = (requestId: string, json = false) =>
    explainRequest({ url, apiKey: undefined, requestId, json });
  assertEquals((await ask("r")).split("\n"), [
    "r[1]: running, queue 90 ms, 2 tokens cached, 0 preemptions",
    "  +     0 ms  queues with 3 tokens",
    "  +    90 ms  is admitted with 3 tokens, 2 of them cached",
  ]);
  assertEquals(JSON.parse(await ask("r", true)).sequences[0].queue_ms, 90);
  const { message } = await assertRejects(() => ask("other"), StartupError);
  assertStringIncludes(message, 'No request "other" is known');
  await server.shutdown();
});

Deno.test("parseExplainConfig() takes a file, the id of a request, or standard input", () => {
  for (const id of ["chatcmpl-", "cmpl-", "resp_", "msg_", "ollama-", "embd-", "rerank-"]) {
    const requestId = id + "0123456789abcdef".repeat(2);
    const { file, ...given } = parseExplainConfig([requestId], {})!;
    assertEquals([given.requestId, file], [requestId, undefined]);
  }
  assertEquals(parseExplainConfig(["a.json"], {})!.file, "a.json");
  assertEquals([parseExplainConfig(["-"], {})!.file, parseExplainConfig([], {})!.file], [
    undefined,
    undefined,
  ]);
  assertThrows(() => parseExplainConfig(["a", "b"], {}), StartupError, 'argument "b"');
  assertStringIncludes(explainHelp(), "quire explain request.json");
});

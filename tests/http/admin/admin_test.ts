import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../../src/core/errors.ts";
import { Explanation } from "../../support/explain_format.ts";
import { CHAT, testServer } from "../server.ts";

Deno.test("POST /reset_prefix_cache asks the engine, and passes its refusal on", async () => {
  const server = testServer();
  assertEquals((await server.request("/reset_prefix_cache", { method: "POST" })).status, 200);
  await server.request("/reset_prefix_cache?preempt=true", { method: "POST" });
  assertEquals(server.engine.commands, [
    { type: "reset_prefix_cache", preempt: false },
    { type: "reset_prefix_cache", preempt: true },
  ]);
  server.engine.refusal = new RequestError("3 sequences run", { status: 409 });
  const refused = await server.request("/reset_prefix_cache", { method: "POST" });
  assertEquals([refused.status, (await refused.json()).error.message], [409, "3 sequences run"]);
  const bad = await server.request("/reset_prefix_cache?preempt=maybe", { method: "POST" });
  assertEquals([bad.status, (await bad.json()).error.param], [400, "preempt"]);
  assertEquals(server.engine.commands.length, 2);
});

Deno.test("GET /admin/kv/check reports the blocks after an audit, and an engine that has failed as such", async () => {
  const server = testServer();
  const counts = { numBlocks: 10, numFreeBlocks: 4, numCachedBlocks: 5 };
  server.engine.answers = { ...server.engine.answers, check_integrity: counts };
  const response = await server.request("/admin/kv/check");
  assertEquals(await response.json(), {
    status: "ok",
    blocks: { total: 10, free: 4, cached: 5, in_use: 1 },
  });
  assertEquals(server.engine.commands, [{ type: "check_integrity" }]);
  server.engine.refusal = new EngineUnavailableError("gone");
  assertEquals((await server.request("/admin/kv/check")).status, 503);
});

const STORED = {
  type: "stored",
  keys: ["b", "c"],
  parentKey: "a",
  tokens: [1, 2],
  scope: "",
  group: 0,
} as const;

/** The first `count` events of a stream. */
async function eventsOf(response: Response, count: number): Promise<Record<string, unknown>[]> {
  const events: Record<string, unknown>[] = [];
  let text = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const lines = text.split("\n\n").slice(0, -1);
    events.length = 0;
    for (const line of lines) events.push(JSON.parse(line.replace(/^data: /, "")));
    if (events.length >= count) break;
  }
  return events;
}

Deno.test("GET /kv/events replays from a number, then follows", async () => {
  const server = testServer();
  server.engine.kvEvents.append([STORED, { type: "used", key: "c" }]);
  const response = await server.request("/kv/events?from=0");
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  setTimeout(() => server.engine.kvEvents.append([{ type: "cleared" }]), 5);
  assertEquals(await eventsOf(response, 2), [
    { seq: 0, type: "stored", keys: ["b", "c"], parent_key: "a", group: 0, tokens: [1, 2] },
    { seq: 2, type: "cleared" },
  ]);
});

Deno.test("GET /kv/events says what is no longer kept, and hides tokens behind API keys", async () => {
  const access = { apiKeys: ["of a client"], adminKeys: ["k"], hostname: "127.0.0.1" };
  const server = testServer({ access });
  for (let i = 0; i < 100; i++) server.engine.kvEvents.append([{ type: "cleared" }, STORED]);
  const first = server.engine.kvEvents.firstSeq;
  assert(first > 0);
  const response = await server.request("/kv/events?from=0", { headers: { "x-api-key": "k" } });
  const [gap, ...others] = await eventsOf(response, 3);
  assertEquals(gap, { type: "gap", first_seq: first });
  const stored = others.find(({ type }) => type === "stored")!;
  assertEquals(Object.keys(stored).sort(), ["group", "keys", "parent_key", "seq", "type"]);
  const bad = await server.request("/kv/events?from=-1", { headers: { "x-api-key": "k" } });
  assertEquals([bad.status, (await bad.json()).error.param], [400, "from"]);
});

Deno.test("GET /admin/kv/log shows decisions by number, limit and request", async () => {
  const server = testServer();
  server.engine.decisions.append(["r1", "r2", "r1"].map((requestId, step) => ({
    type: "wait" as const,
    sequenceId: 4,
    reason: "blocks" as const,
    numNeeded: 9,
    numFree: 1,
    numEvictable: 2,
    requestId,
    index: 0,
    step,
  })));
  const read = async (query: string) =>
    await (await server.request(`/admin/kv/log${query}`)).json();
  const all = await read("");
  assertEquals([all.first_seq, all.next_seq, all.entries.length], [0, 3, 3]);
  assertEquals(all.entries[1].num_needed, 9);
  assertStringIncludes(all.entries[1].text, "9 blocks needed, 1 free, 2 evictable");
  const seqs = (log: { entries: { seq: number }[] }) => log.entries.map(({ seq }) => seq);
  assertEquals(seqs(await read("?limit=1")), [2]);
  assertEquals(seqs(await read("?from=1&limit=1")), [1]);
  assertEquals(seqs(await read("?request_id=r1")), [0, 2]);
  const bad = await server.request("/admin/kv/log?limit=0");
  assertEquals([bad.status, (await bad.json()).error.param], [400, "limit"]);
});

Deno.test("explain: true answers with the request's own decisions, streamed or not", async () => {
  const server = testServer();
  server.engine.script = (_, { id }) => {
    const decision = { type: "free" as const, sequenceId: 1, numBlocks: 2, index: 0, step: 9 };
    server.engine.decisions.append([{ ...decision, requestId: "other" }, {
      ...decision,
      requestId: id,
    }]);
    return [72];
  };
  const whole = await (await server.post("/v1/chat/completions", { ...CHAT, explain: true }))
    .json();
  assertEquals(whole.quire.decisions.length, 1);
  assertEquals(whole.quire.decisions[0].request_id, whole.id);
  assertStringIncludes(whole.quire.decisions[0].text, "gives 2 blocks back");
  const plain = await (await server.post("/v1/chat/completions", CHAT)).json();
  assertEquals("quire" in plain, false);
  const stream = await server.post("/v1/chat/completions", {
    ...CHAT,
    explain: true,
    stream: true,
  });
  const chunks = (await stream.text()).split("\n\n").filter((line) => line.startsWith("data: {"));
  const last = JSON.parse(chunks.at(-1)!.slice(6));
  assertEquals([last.choices, last.quire.decisions.length], [[], 1]);
});

/** An engine that says that each request waited behind another one. */
function waitingServer() {
  const server = testServer();
  server.engine.script = (_, { id: requestId }) => {
    const own = { sequenceId: 4, requestId, index: 0, step: 3 };
    server.engine.decisions.append([
      { ...own, type: "queue", numTokens: 5, timeMs: 1000 },
      { ...own, type: "wait", reason: "queue", headId: 2, numWaiting: 7, otherRequestId: "of-b" },
      { ...own, type: "admit", numTokens: 5, numCachedTokens: 1, timeMs: 1250 },
      { ...own, type: "preempt", reason: "blocks", forId: 2, numBlocks: 1, otherRequestId: "of-b" },
      { ...own, type: "first_token", timeMs: 1350 },
      { ...own, type: "finish", reason: "length", timeMs: 1400 },
    ]);
    return [72];
  };
  return server;
}

Deno.test("GET /admin/requests/ID tells what has happened to a request, and why", async () => {
  const server = waitingServer();
  const { id } = await (await server.post("/v1/chat/completions", CHAT)).json();
  const trace = await (await server.request(`/admin/requests/${id}`)).json();
  assertEquals([trace.id, trace.sequences.length], [id, 1]);
  const { lines, ...numbers } = trace.sequences[0];
  assertEquals(numbers, {
    index: 0,
    state: "finished",
    queue_ms: 250,
    prefill_ms: 100,
    decode_ms: 50,
    cached_tokens: 1,
    chunks: 0,
    chunk_tokens: 0,
    preemptions: 1,
    finish_reason: "length",
  });
  assertStringIncludes(lines[1], "waits: request of-b is the head of the queue of 7");
  assertStringIncludes(lines[3], "is preempted and gives 1 blocks back: request of-b needs blocks");
  const unknown = await server.request("/admin/requests/other");
  assertEquals([unknown.status, (await unknown.json()).error.param], [404, "id"]);
});

Deno.test("explain: true names no other request, as the operators' log does", async () => {
  const server = waitingServer();
  const body = { ...CHAT, explain: true };
  const { id, quire } = await (await server.post("/v1/chat/completions", body)).json();
  const { decisions, traces } = Explanation.parse(quire);
  assertEquals([decisions.length, traces.length], [6, 1]);
  assertEquals(JSON.stringify(quire).includes("of-b"), false);
  assertStringIncludes(traces[0]!.lines[1]!, "sequence 2 is the head of the queue of 7");
  const log = await (await server.request(`/admin/kv/log?request_id=${id}`)).json();
  assertStringIncludes(log.entries[1].text, "request of-b is the head");
});

Deno.test("the log says where the time of a request went, and at debug level its whole way", async () => {
  const server = waitingServer();
  const { id } = await (await server.post("/v1/chat/completions", CHAT)).json();
  const line = server.log.find(({ message }) => message === "generation")!;
  const { queue_ms, prefill_ms, decode_ms, preemptions } = line;
  assertEquals([queue_ms, prefill_ms, decode_ms, preemptions], [250, 100, 50, 1]);
  const trace = server.log.find(({ message }) => message === "trace")!;
  assertEquals([trace.level, trace.id, trace.index, trace.cached_tokens], ["debug", id, 0, 1]);
  assertStringIncludes(String(trace.way), "queues with 5 tokens; +0 ms waits: request of-b");
  assertStringIncludes(String(trace.way), "; +400 ms is finished (length)");
});

Deno.test("GET /admin/kv/curve shows the estimates by size of memory", async () => {
  const curve = await (await testServer().request("/admin/kv/curve")).json();
  assertEquals(curve, {
    points: [{ memory: 0.5, hit_rate: 0.25 }, { memory: "infinite", hit_rate: 0.75 }],
  });
});

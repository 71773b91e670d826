import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { bytesOf } from "../fake_engine.ts";
import { EOS, pieceId } from "../fake_text.ts";
import { CHAT, listen, readEvents, testServer } from "../server.ts";
import { runs } from "../../support/runs.ts";

const PATH = "/v1/chat/completions";

// deno-lint-ignore no-explicit-any -- chunks are JSON of many shapes
async function chunksOf(server: ReturnType<typeof testServer>, body: object): Promise<any[]> {
  const response = await server.post(PATH, { ...CHAT, stream: true, ...body });
  assertEquals(response.status, 200);
  const events = await readEvents(response);
  assertEquals(events.at(-1), "[DONE]");
  return events.slice(0, -1);
}

Deno.test("answerAsStream() sends role, deltas, finish and [DONE] with a stream's headers", async () => {
  const server = testServer();
  const response = await server.post(PATH, { ...CHAT, stream: true, max_tokens: 2 });
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assertEquals(response.headers.get("cache-control"), "no-cache");
  assertEquals(response.headers.get("x-accel-buffering"), "no");
  const text = await response.text();
  assert(text.endsWith("\n\ndata: [DONE]\n\n"));
  const chunks = text.split("\n\n").slice(0, -2).map((event) => JSON.parse(event.slice(6)));
  assertEquals(chunks.map(({ choices }) => [choices[0].delta, choices[0].finish_reason]), [
    [{ role: "assistant", content: "" }, null],
    [{ content: "H" }, null],
    [{ content: "e" }, null],
    [{}, "length"],
  ]);
  for (const { object, model, usage } of chunks) {
    assertEquals([object, model, usage], ["chat.completion.chunk", "quire/test", undefined]);
  }
});

Deno.test("answerAsStream() adds a usage chunk without choices when asked to, and only then", async () => {
  const server = testServer();
  const chunks = await chunksOf(server, { stream_options: { include_usage: true } });
  const last = chunks.pop();
  assertEquals([last.choices, last.usage.completion_tokens], [[], 6]);
  assert(chunks.every(({ usage, choices }) => usage === null && choices.length === 1));
});

Deno.test("answerAsStream() counts along when asked for continuous usage", async () => {
  const server = testServer();
  const stream_options = { include_usage: true, continuous_usage_stats: true };
  const chunks = await chunksOf(server, { stream_options });
  assertEquals(
    chunks.map(({ usage }) => usage.completion_tokens),
    [1, 1, 2, 3, 4, 5, 6, 6],
  );
});

Deno.test("answerAsStream() finds a stop string across chunks and never shows its beginning", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("ok STOP more");
  const chunks = await chunksOf(server, {
    stop: ["STOP"],
    stream_options: { include_usage: true },
  });
  const contents = chunks.slice(0, -1).map(({ choices }) => choices[0].delta.content ?? "");
  assertEquals(contents.join(""), "ok ");
  assert(contents.every((content) => !content.includes("S")));
  const { finish_reason, stop_reason } = chunks.at(-2).choices[0];
  assertEquals([finish_reason, stop_reason], ["stop", "STOP"]);
  assertEquals(chunks.at(-1).usage.completion_tokens, 7);
  assertEquals([...server.engine.run.aborted], [0]);
});

Deno.test("answerAsStream() releases what was no stop string after all", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("STOx");
  const chunks = await chunksOf(server, { stop: ["STOP"] });
  const contents = chunks.map(({ choices }) => choices[0].delta.content).filter(Boolean);
  assertEquals(contents, ["STOx"]);
});

Deno.test("answerAsStream() sends whole characters only", async () => {
  const server = testServer();
  server.engine.script = () => [...bytesOf("é😀"), pieceId(" café")];
  const chunks = await chunksOf(server, {});
  const contents = chunks.map(({ choices }) => choices[0].delta.content).filter(Boolean);
  assertEquals(contents, ["é", "😀", " café"]);
});

Deno.test("answerAsStream() interleaves samples, each with its own role and finish", async () => {
  const server = testServer();
  server.engine.script = (index) => bytesOf(["ab", "c", "def"][index]!);
  const chunks = await chunksOf(server, { n: 3 });
  const byIndex = [0, 1, 2].map((index) =>
    chunks.map(({ choices }) => choices[0]).filter((choice) => choice.index === index)
  );
  assertEquals(
    byIndex.map((choices) => choices.map(({ delta }) => delta.content ?? "").join("")),
    ["ab", "c", "def"],
  );
  for (const choices of byIndex) {
    assertEquals(choices[0].delta.role, "assistant");
    assertEquals(choices.filter(({ delta }) => delta.role !== undefined).length, 1);
    assertEquals(choices.map(({ finish_reason }) => finish_reason).filter(Boolean), ["stop"]);
    assertEquals(choices.at(-1).finish_reason, "stop");
  }
  assertEquals(chunks.slice(0, 6).map(({ choices }) => choices[0].index), [0, 0, 1, 1, 2, 2]);
});

Deno.test("answerAsStream() sends token ids with every token, the prompt's with the first chunk", async () => {
  const server = testServer();
  const chunks = await chunksOf(server, { return_token_ids: true, stop: ["XX"] });
  assertEquals(chunks[0].prompt_token_ids, bytesOf("user:Hi\nassistant:"));
  assert(chunks.slice(1).every((chunk) => chunk.prompt_token_ids === undefined));
  const ids = chunks.flatMap(({ choices }) => choices[0].token_ids ?? []);
  assertEquals(ids, [...bytesOf("Hello"), EOS]);
});

Deno.test("answerAsStream() sends log-probabilities with the text they belong to", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("aSTx");
  const chunks = await chunksOf(server, { logprobs: true, stop: ["STOP"] });
  const texts = chunks.map(({ choices: [{ delta, logprobs }] }) => [
    delta.content,
    logprobs?.content.map(({ token }: { token: string }) => token).join(""),
  ]);
  assertEquals(texts.slice(1, -1), [["a", "a"], ["STx", "STx"]]);
});

Deno.test("answerAsStream() tells of a failure after the first byte in an event, then ends", async () => {
  const server = testServer();
  const error = { status: 500, type: "server_error", code: "oom", message: "No room", param: null };
  server.engine.override = (event, outputIndex) =>
    outputIndex === 2
      ? { requestId: event.requestId, index: 0, finishReason: "error", error }
      : event;
  const chunks = await chunksOf(server, {});
  assertEquals(chunks.at(-1), {
    error: { message: "No room", type: "server_error", param: null, code: "oom" },
  });
  assertEquals(chunks.filter((chunk) => chunk.error !== undefined).length, 1);
  assertEquals(server.log.find(({ message }) => message === "generation")?.status, 500);
});

Deno.test("answerAsStream() hides a bug behind a fixed message and logs it", async () => {
  const server = testServer();
  server.engine.override = () => {
    throw new TypeError("deep inside");
  };
  const chunks = await chunksOf(server, {});
  assertEquals(chunks.map(({ error }) => error.code), ["internal_error"]);
  assert(!JSON.stringify(chunks).includes("deep inside"));
  assert(
    server.log.some(({ level, error }) => level === "error" && String(error).includes("deep")),
  );
});

Deno.test("answerAsStream() aborts the generation when the client's socket closes", async () => {
  const server = testServer();
  server.engine.isManual = true;
  await using listening = await listen(server);
  for (const numSteps of [0, 2]) {
    const abort = new AbortController();
    const response = await fetch(listening.url + PATH, {
      method: "POST",
      body: JSON.stringify({ ...CHAT, n: 2, stream: true }),
      headers: { "content-type": "application/json" },
      signal: abort.signal,
    });
    const { run } = server.engine;
    run.step(numSteps);
    if (numSteps > 0) await response.body!.getReader().read();
    abort.abort();
    await run.ended;
    assertEquals([...run.aborted], [0, 1]);
  }
});

Deno.test("answerAsStream() follows the grammar of a stream for any tokens and options", async () => {
  const token = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...[258, 259, 260, 261, 262, 263]));
  const scripts = fc.array(fc.array(token, { maxLength: 8 }), { minLength: 1, maxLength: 3 });
  const options = fc.record({
    stop: fc.array(fc.constantFrom("a", "ab", "STOP", "é", " w"), { maxLength: 2 }),
    logprobs: fc.boolean(),
    return_token_ids: fc.boolean(),
    include_stop_str_in_output: fc.boolean(),
    max_tokens: fc.integer({ min: 1, max: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(scripts, options, async (scripts, options) => {
      const server = testServer();
      server.engine.script = (index) => scripts[index]!;
      const body = { ...CHAT, ...options, n: scripts.length };
      const whole = await (await server.post(PATH, body)).json();
      const chunks = await chunksOf(server, { ...body, stream_options: { include_usage: true } });
      assertEquals(chunks.pop().usage, whole.usage);
      for (const { index, message, finish_reason, stop_reason, logprobs } of whole.choices) {
        const own = chunks.map(({ choices }) => choices[0]).filter((one) => one.index === index);
        const [opening, ...rest] = own;
        const finish = rest.pop();
        assertEquals(opening.delta, { role: "assistant", content: "" });
        assertEquals(rest.map(({ delta }) => delta.content).join(""), message.content);
        assertEquals(finish.delta, {});
        assertEquals([finish.finish_reason, finish.stop_reason], [finish_reason, stop_reason]);
        const streamed = rest.flatMap((one) => one.logprobs?.content ?? []);
        assertEquals(streamed, logprobs?.content ?? []);
      }
    }),
    { seed: 23, numRuns: runs(100) },
  );
});

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { AnswerMeter, describeTimes } from "../../src/client/answer_meter.ts";
import { type AnswerPart, baseUrlOf, OpenAiClient } from "../../src/client/openai_client.ts";
import { StartupError } from "../../src/core/errors.ts";
import { FakeOpenAi } from "../support/fake_openai.ts";

const messages = [{ role: "user", content: "Hi" }] as const;

async function all(parts: AsyncGenerator<AnswerPart>): Promise<AnswerPart[]> {
  return await Array.fromAsync(parts);
}

Deno.test("baseUrlOf() adds a scheme and a version where there is none, and keeps a path", () => {
  assertEquals(baseUrlOf("localhost:8000"), "http://localhost:8000/v1");
  assertEquals(baseUrlOf("https://h/"), "https://h/v1");
  assertEquals(baseUrlOf("http://h/v1/"), "http://h/v1");
  assertEquals(baseUrlOf("http://h/openai/v2"), "http://h/openai/v2");
  assertThrows(() => baseUrlOf("http://"), StartupError, "is no address of a server");
});

Deno.test("chat() yields texts, thoughts, the reason of the end and the counts", async () => {
  const fake = new FakeOpenAi(() => ({
    thinking: ["hm"],
    pieces: ["Hel", "lo"],
    usage: { prompt_tokens: 9, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } },
  }), { apiKey: "k" });
  const parts = await all(fake.client.chat({ model: "m", messages }));
  assertEquals(parts.map(({ text }) => text).join(""), "Hello");
  assertEquals(parts.map(({ thinking }) => thinking).join(""), "hm");
  assertEquals(parts.find(({ finishReason }) => finishReason !== undefined)?.finishReason, "stop");
  assertEquals(parts.at(-1)?.usage, { promptTokens: 9, completionTokens: 3, cachedTokens: 4 });
  const [{ path, authorization, body }] = fake.requests as [typeof fake.requests[0]];
  assertEquals([path, authorization], ["/v1/chat/completions", "Bearer k"]);
  const options = { stream: true, stream_options: { include_usage: true } };
  assertEquals(body, { model: "m", messages, ...options });
});

Deno.test("complete() reads the texts of completions", async () => {
  const fake = new FakeOpenAi(() => ({ pieces: ["a", "b"] }));
  const parts = await all(fake.client.complete({ prompt: "p" }));
  assertEquals(parts.map(({ text }) => text).join(""), "ab");
  assertEquals(fake.requests[0]!.path, "/v1/completions");
});

Deno.test("chat() repeats a refusal, of OpenAI's form or any other", async () => {
  const refusals = [
    [400, '{"error": {"message": "too long\\nby 3"}}', "answered 400: too long by 3"],
    [401, '{"error": "who?"}', "answered 401: who? (a key is given with --api-key)"],
    [502, "<html>bad gateway</html>", "answered 502: <html>bad gateway</html>"],
    [500, "", "answered 500"],
  ] as const;
  for (const [status, body, words] of refusals) {
    const fake = new FakeOpenAi(() => ({ refusal: [status, body] }));
    const work = () => all(fake.client.chat({ messages }));
    const { message } = await assertRejects(work, StartupError);
    assertStringIncludes(message, words);
  }
});

Deno.test("chat() ends with the server's words on an error in the middle of a stream", async () => {
  const fake = new FakeOpenAi(() => ({ pieces: ["a"], end: "error" }));
  const seen: string[] = [];
  const { message } = await assertRejects(async () => {
    for await (const { text } of fake.client.chat({ messages })) seen.push(text);
  }, StartupError);
  assertEquals([seen.join(""), message], ["a", "The server broke off: the engine is gone"]);
});

Deno.test("a server that cannot be reached is one sentence", async () => {
  const fetch = () => Promise.reject(new TypeError("connection refused"));
  const client = new OpenAiClient({ baseUrl: "http://h/v1", fetch });
  const { message } = await assertRejects(() => client.models(), StartupError);
  assertEquals(message, "Cannot reach http://h/v1/models: connection refused");
});

Deno.test("a connection that breaks off is one sentence, and so is an answer that is no JSON", async () => {
  const client = (body: BodyInit) =>
    new OpenAiClient({ baseUrl: "http://h/v1", fetch: () => new Response(body) });
  const broken = () =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller) => controller.error(new TypeError("connection reset")),
    });
  for (
    const work of [
      (body: BodyInit) => all(client(body).chat({ messages })),
      (body: BodyInit) => client(body).models(),
    ]
  ) {
    const { message } = await assertRejects(() => work(broken()), StartupError);
    assertEquals(message, "The connection to http://h/v1 broke off: connection reset");
  }
  const { message } = await assertRejects(() => client("<html>").models(), StartupError);
  assertEquals(message, 'http://h/v1/models answered "<html>", which is no JSON');
  assertEquals(await client("null").models(), []);
});

Deno.test("an aborted signal ends a stream that is silent, and the server sees it", async () => {
  const fake = new FakeOpenAi(() => ({ pieces: ["a"], end: "silence" }));
  const stop = new AbortController();
  const work = async () => {
    for await (const { text } of fake.client.chat({ messages }, stop.signal)) {
      if (text === "a") stop.abort();
    }
  };
  await assertRejects(work);
  assertEquals(fake.numCancelled, 1);
});

Deno.test("AnswerMeter counts from the request to the first text, and the rest per second", () => {
  const meter = new AnswerMeter(1000);
  const part = (text: string, atMs: number) => ({
    text,
    thinking: "",
    hasChoice: true,
    atMs,
  });
  for (const [text, atMs] of [["", 1100], ["a", 1500], ["b", 2000], ["c", 2500]] as const) {
    meter.add(part(text, atMs));
  }
  assertEquals(meter.times, { firstMs: 500, tokensPerSecond: 2, usage: undefined });
  assertEquals(describeTimes(meter.times), "2.0 tokens/s, first after 0.50 s");
  const usage = { promptTokens: 20, completionTokens: 5, cachedTokens: 16 };
  meter.add({ ...part("", 2600), usage });
  assertEquals(
    describeTimes(meter.times),
    "5 tokens, 4.0 tokens/s, first after 0.50 s, prompt of 20, 16 cached",
  );
});

import { assert, assertEquals, assertRejects } from "@std/assert";
import OpenAI from "openai";
import { RequestError } from "../../../src/core/errors.ts";
import { bytesOf } from "../fake_engine.ts";
import { listen, type TestServer, testServer } from "../server.ts";

const CHAT = {
  model: "quire/test",
  messages: [{ role: "user" as const, content: "Hi" }],
};

/** Runs `use` with the official client against the app on a real socket. */
async function withClient(
  use: (client: OpenAI, server: TestServer) => Promise<void>,
  apiKey = "key",
): Promise<void> {
  const server = testServer({ access: { apiKeys: ["key"], adminKeys: [], hostname: "127.0.0.1" } });
  await using listening = await listen(server);
  await use(new OpenAI({ baseURL: `${listening.url}/v1`, apiKey, maxRetries: 0 }), server);
}

Deno.test("openai client reads a chat completion", () =>
  withClient(async (client) => {
    const completion = await client.chat.completions.create({ ...CHAT, logprobs: true });
    const [choice] = completion.choices;
    assertEquals(choice?.message.content, "Hello");
    assertEquals(choice?.logprobs?.content?.map(({ token }) => token).join(""), "Hello");
    assertEquals(completion.usage?.completion_tokens, 6);
    assert(completion._request_id);
  }));

Deno.test("openai client streams a chat completion with usage", () =>
  withClient(async (client) => {
    const stream = await client.chat.completions.create({
      ...CHAT,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let total = 0;
    for await (const { choices, usage } of stream) {
      text += choices[0]?.delta.content ?? "";
      total = usage?.total_tokens ?? total;
    }
    assertEquals([text, total], ["Hello", 24]);
  }));

Deno.test("openai client assembles a stream with its own helper", () =>
  withClient(async (client) => {
    const runner = client.chat.completions.stream({ ...CHAT, n: 2, stop: ["lo"] });
    const { choices } = await runner.finalChatCompletion();
    assertEquals(choices.map(({ message }) => message.content), ["Hel", "Hel"]);
  }));

Deno.test("openai client reads and streams completions, token ids as prompts included", () =>
  withClient(async (client) => {
    const { choices } = await client.completions.create({ model: "alias", prompt: [[5], [6]] });
    assertEquals(choices.map(({ text }) => text), ["Hello", "Hello"]);
    const stream = await client.completions.create({ model: "alias", prompt: "x", stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
    assertEquals(text, "Hello");
  }));

Deno.test("openai client lists and retrieves models whose names contain slashes", () =>
  withClient(async (client) => {
    const { data } = await client.models.list();
    assertEquals(data.map(({ id }) => id), ["quire/test", "alias"]);
    assertEquals((await client.models.retrieve("quire/test")).owned_by, "quire");
  }));

Deno.test("openai client raises the error class of each status", () =>
  withClient(async (client, { engine }) => {
    const chat = (changes: object) =>
      client.chat.completions.create({ ...CHAT, ...changes, stream: false });
    const bad = await assertRejects(() => chat({ temperature: 9 }), OpenAI.BadRequestError);
    assertEquals([bad.param, bad.code], ["temperature", "invalid_value"]);
    await assertRejects(() => chat({ model: "gpt-4" }), OpenAI.NotFoundError, "gpt-4");
    engine.refusal = new RequestError("Full", { status: 429, code: "queue_full" });
    await assertRejects(() => chat({}), OpenAI.RateLimitError, "Full");
    engine.refusal = undefined;
    engine.state = "draining";
    await assertRejects(() => chat({}), OpenAI.InternalServerError, "shutting down");
  }));

Deno.test("openai client is refused without a key of the server's", () =>
  withClient(async (client) => {
    await assertRejects(() => client.models.list(), OpenAI.AuthenticationError, "API key");
  }, "wrong"));

Deno.test("openai client raises an error that comes in the middle of a stream", () =>
  withClient(async (client, { engine }) => {
    const error = {
      status: 500,
      type: "server_error",
      code: "oom",
      message: "No room",
      param: null,
    };
    engine.override = (event, outputIndex) =>
      outputIndex === 1
        ? { requestId: event.requestId, index: 0, finishReason: "error", error }
        : event;
    const stream = await client.chat.completions.create({ ...CHAT, stream: true });
    const read = async () => {
      for await (const _ of stream);
    };
    await assertRejects(read, OpenAI.APIError, "No room");
  }));

Deno.test("openai client's abort reaches the engine", () =>
  withClient(async (client, { engine }) => {
    engine.script = () => bytesOf("x".repeat(200));
    engine.isManual = true;
    const stream = await client.chat.completions.create({ ...CHAT, stream: true });
    engine.run.step(2);
    for await (const _ of stream) break;
    await engine.run.ended;
    assertEquals([...engine.run.aborted], [0]);
  }));

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type ChatResponse, Ollama } from "ollama";
import { checkedFetch } from "./checked_fetch.ts";
import { ANSWER, HELLO, Mood, Place, type Scenario, type Server } from "./scenario.ts";

const messages = [{ role: "user", content: HELLO }];
const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string", enum: Place.shape.city.options } },
      required: ["city"],
    },
  },
};

function clientOf({ url }: Server): Ollama {
  return new Ollama({ host: url, fetch: checkedFetch });
}

/** The text of a stream, and its last object. */
async function read(stream: AsyncIterable<ChatResponse>): Promise<[string, ChatResponse]> {
  let text = "";
  let last: ChatResponse | undefined;
  for await (const part of stream) {
    text += part.message.content;
    last = part;
  }
  return [text, last!];
}

export const OLLAMA: readonly Scenario[] = [
  ["ollama: a chat, whole and streamed, with counts", async (server) => {
    const { model } = server;
    const client = clientOf(server);
    const whole = await client.chat({ model, messages });
    assertEquals([whole.message.content, whole.done_reason], [ANSWER, "stop"]);
    const [text, last] = await read(await client.chat({ model, messages, stream: true }));
    assertEquals([text, last.done, last.eval_count], [ANSWER, true, whole.eval_count]);
    assertEquals(last.prompt_eval_count, whole.prompt_eval_count);
    const options = { temperature: 0, num_predict: 3, num_ctx: 64 };
    const cut = await client.chat({ model: `${model}:latest`, messages, options });
    assertEquals([cut.done_reason, cut.eval_count], ["length", 3]);
  }],
  ["ollama: a prompt, through the template and raw, whole and streamed", async (server) => {
    const { model } = server;
    const client = clientOf(server);
    const options = { temperature: 0, num_predict: 12 };
    const answer = await client.generate({ model, prompt: HELLO, options });
    assertEquals(answer.response, ANSWER);
    const raw = { model, prompt: "Once upon a time", raw: true, options };
    const whole = await client.generate(raw);
    assertStringIncludes(whole.response ?? "", " there was a");
    let text = "";
    for await (const { response } of await client.generate({ ...raw, stream: true })) {
      text += response;
    }
    assertEquals(text, whole.response);
  }],
  ["ollama: an answer in a schema, and any JSON", async (server) => {
    const { model } = server;
    const client = clientOf(server);
    const format = {
      type: "object",
      properties: { mood: { enum: ["good", "bad"] }, level: { enum: ["low", "high"] } },
      required: ["mood", "level"],
    };
    const held = await client.chat({ model, messages, format });
    Mood.parse(JSON.parse(held.message.content));
    const options = { num_predict: 40, temperature: 0 };
    const any = await client.generate({ model, prompt: HELLO, format: "json", options });
    assert(any.response?.startsWith("{") || any.done_reason === "length", any.response);
  }],
  ["ollama: tools in the prompt, a call and its result in the conversation", async (server) => {
    const { model } = server;
    const client = clientOf(server);
    const [call] = [{ function: { name: "get_weather", arguments: { city: "Rome" } } }];
    const history = [
      ...messages,
      { role: "assistant", content: "", tool_calls: [call!] },
      { role: "tool", content: "Sun", tool_name: "get_weather" },
    ];
    // The demo model's template knows no tools: Ollama says so in the same words.
    const asked = () => client.chat({ model, messages, tools: [WEATHER] });
    await assertRejects(asked, Error, "does not support tools");
    const { message } = await client.chat({ model, messages: history });
    assertEquals(message.role, "assistant");
  }],
  ["ollama: what is served, and mistakes", async (server) => {
    const { model } = server;
    const client = clientOf(server);
    const { models } = await client.list();
    assertEquals(models.map(({ name }) => name), [model]);
    const shown = await client.show({ model });
    assert(shown.template.length > 0 && shown.capabilities.includes("completion"));
    assertEquals((await client.ps()).models.map(({ name }) => name), [model]);
    await assertRejects(() => client.chat({ model: "nothing", messages }), Error, "nothing");
    const options = { num_ctx: 1_000_000 };
    const long = () => client.chat({ model, messages, options });
    await assertRejects(long, Error, "options.num_ctx must be at most");
  }],
  ["ollama: a stream that the client aborts", async (server) => {
    const client = clientOf(server);
    const story = [{ role: "user", content: "Tell me a story about a fox and a lantern." }];
    const stream = await new Ollama({ host: server.url }).chat({
      model: server.model,
      messages: story,
      stream: true,
    });
    await assertRejects(async () => {
      for await (const _ of stream) stream.abort();
    });
    assertEquals((await client.chat({ model: server.model, messages })).message.content, ANSWER);
  }],
];

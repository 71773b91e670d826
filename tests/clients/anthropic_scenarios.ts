import Anthropic, { BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { checkedFetch } from "./checked_fetch.ts";
import { ANSWER, HELLO, Mood, Place, type Scenario, type Server } from "./scenario.ts";

const WEATHER: Anthropic.Tool = {
  name: "get_weather",
  input_schema: {
    type: "object",
    properties: { city: { enum: Place.shape.city.options } },
    required: ["city"],
  },
  cache_control: { type: "ephemeral" },
};

function clientOf({ url }: Server): Anthropic {
  return new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0, fetch: checkedFetch });
}

function textOf(content: readonly { readonly type: string }[]): string {
  return content.map((block) => "text" in block ? block.text : "").join("");
}

export const ANTHROPIC: readonly Scenario[] = [
  ["anthropic: a message, whole and streamed, and its tokens", async (server) => {
    const client = clientOf(server);
    const messages: Anthropic.MessageParam[] = [{ role: "user", content: HELLO }];
    const body = { model: server.model, messages, max_tokens: 20_000 };
    const whole = await client.messages.create(body);
    assertEquals([textOf(whole.content), whole.stop_reason], [ANSWER, "end_turn"]);
    const { max_tokens: _, ...prompt } = body;
    const { input_tokens } = await client.messages.countTokens(prompt);
    const { usage } = whole;
    assertEquals(usage.input_tokens + usage.cache_read_input_tokens!, input_tokens);
    const stream = client.messages.stream(body);
    let text = "";
    stream.on("text", (delta) => text += delta);
    const final = await stream.finalMessage();
    assertEquals([text, textOf(final.content)], [ANSWER, ANSWER]);
    const beta = await client.beta.messages.create({ ...body, stop_sequences: ["help"] });
    assertEquals([beta.stop_reason, beta.stop_sequence], ["stop_sequence", "help"]);
  }],
  ["anthropic: an output parsed by a zod schema", async (server) => {
    const { parsed_output } = await clientOf(server).messages.parse({
      model: server.model,
      max_tokens: 100,
      messages: [{ role: "user", content: "How are you?" }],
      output_config: { format: zodOutputFormat(Mood) },
    });
    assertEquals(Mood.parse(parsed_output), parsed_output);
  }],
  ["anthropic: a call, its result, and the answer", async (server) => {
    const client = clientOf(server);
    const question: Anthropic.MessageParam = { role: "user", content: "The weather?" };
    const common = { model: server.model, tools: [WEATHER], max_tokens: 60 };
    const asked = await client.messages.create({
      ...common,
      messages: [question],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
    });
    const [call] = asked.content;
    assert(call?.type === "tool_use" && asked.stop_reason === "tool_use");
    Place.parse(call.input);
    const answered = await client.messages.create({
      ...common,
      max_tokens: 5,
      tool_choice: { type: "none" },
      messages: [question, { role: "assistant", content: asked.content }, {
        role: "user",
        content: [{ type: "tool_result", tool_use_id: call.id, content: "Sun" }],
      }],
    });
    assertEquals(answered.content[0]!.type, "text");
    const stream = client.messages.stream({
      ...common,
      messages: [question],
      tool_choice: { type: "tool", name: WEATHER.name },
    });
    const [streamed] = (await stream.finalMessage()).content;
    assert(streamed?.type === "tool_use");
    Place.parse(streamed.input);
  }],
  ["anthropic: mistakes are the client's own errors", async (server) => {
    const client = clientOf(server);
    const messages: Anthropic.MessageParam[] = [{ role: "user", content: HELLO }];
    const ask = (fields: object) => () =>
      client.messages.create({ model: server.model, messages, max_tokens: 5, ...fields });
    const unknown = await assertRejects(ask({ model: "claude" }), NotFoundError);
    assertEquals(unknown.type, "not_found_error");
    assert(typeof unknown.requestID === "string");
    const servers = { mcp_servers: [{ type: "url", name: "a", url: "https://a.example" }] };
    await assertRejects(ask(servers), BadRequestError, "mcp_servers is not supported");
    // An agent lets every model think.
    const { content } = await ask({ thinking: { type: "adaptive" } })();
    assert(content.every(({ type }) => type === "text"));
  }],
];

import { assert, assertEquals, assertRejects } from "@std/assert";
import OpenAI, { BadRequestError } from "openai";
import { zodFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { checkedFetch } from "./checked_fetch.ts";
import {
  ANSWER,
  checkVectors,
  HELLO,
  Mood,
  Place,
  type Scenario,
  type Server,
  TEXTS,
} from "./scenario.ts";

const WEATHER: OpenAI.Responses.FunctionTool = {
  type: "function",
  name: "get_weather",
  parameters: z.toJSONSchema(Place),
  strict: true,
};

function clientOf({ url }: Server): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, fetch: checkedFetch });
}

export const OPENAI: readonly Scenario[] = [
  ["openai: embeddings, and a completion's log-probabilities", async (server) => {
    const client = clientOf(server);
    const { data } = await client.embeddings.create({ model: server.model, input: TEXTS });
    checkVectors(data.map(({ embedding }) => embedding));
    const body = { model: server.model, prompt: TEXTS, echo: true, logprobs: 1, max_tokens: 0 };
    const { choices } = await client.completions.create(body);
    assertEquals(choices.map(({ text }) => text), TEXTS);
    assert(choices.every(({ logprobs }) => logprobs!.token_logprobs!.length > 5));
  }],
  ["openai: a response, whole and streamed", async (server) => {
    const client = clientOf(server);
    const body = { model: server.model, input: HELLO };
    const whole = await client.responses.create({ ...body, instructions: "", store: true });
    assertEquals([whole.output_text, whole.status], [ANSWER, "completed"]);
    const { input_tokens } = await client.responses.inputTokens.count(body);
    assertEquals(whole.usage!.input_tokens, input_tokens);
    let text = "";
    for await (const event of await client.responses.create({ ...body, stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assertEquals(text, ANSWER);
    const final = await client.responses.stream(body).finalResponse();
    assertEquals(final.output_text, ANSWER);
    const cut = await client.responses.create({ ...body, max_output_tokens: 2 });
    assertEquals(cut.incomplete_details, { reason: "max_output_tokens" });
  }],
  ["openai: an output parsed by a zod schema", async (server) => {
    const { output_parsed } = await clientOf(server).responses.parse({
      model: server.model,
      input: "How are you?",
      text: { format: zodTextFormat(Mood, "mood") },
    });
    assertEquals(Mood.parse(output_parsed), output_parsed);
  }],
  ["openai: a call, its output, and the answer", async (server) => {
    const client = clientOf(server);
    const question: OpenAI.Responses.ResponseInputItem = { role: "user", content: "The weather?" };
    const common = { model: server.model, tools: [WEATHER], max_output_tokens: 60 };
    const asked = await client.responses.create({
      ...common,
      ...{ input: [question], tool_choice: "required", parallel_tool_calls: false },
    });
    const [call] = asked.output;
    assert(call?.type === "function_call");
    Place.parse(JSON.parse(call.arguments));
    const output = { type: "function_call_output", call_id: call.call_id, output: "Sun" } as const;
    const answered = await client.responses.create({
      ...common,
      ...{ input: [question, call, output], tool_choice: "none", max_output_tokens: 5 },
    });
    assertEquals(answered.output[0]!.type, "message");
    const stream = client.responses.stream({
      ...common,
      ...{ input: "The weather?", tool_choice: { type: "function", name: WEATHER.name } },
    });
    const streamed = (await stream.finalResponse()).output[0]!;
    assert(streamed.type === "function_call");
    Place.parse(JSON.parse(streamed.arguments));
  }],
  ["openai: a function that runTools calls by chat", async (server) => {
    const cities: string[] = [];
    const runner = clientOf(server).chat.completions.runTools({
      model: server.model,
      messages: [{ role: "user", content: "The weather?" }],
      max_tokens: 60,
      tools: [zodFunction({
        name: WEATHER.name,
        parameters: Place,
        function: ({ city }) => {
          cities.push(city);
          return `Sun in ${city}`;
        },
      })],
      tool_choice: { type: "function", function: { name: WEATHER.name } },
    });
    assertEquals(await runner.finalFunctionToolCallResult(), `Sun in ${cities[0]}`);
  }],
  ["openai: what is not stored is refused by name", async (server) => {
    const body = { model: server.model, input: HELLO, previous_response_id: "resp_1" };
    const ask = () => clientOf(server).responses.create(body);
    const error = await assertRejects(ask, BadRequestError);
    assertEquals(error.param, "previous_response_id");
  }],
];

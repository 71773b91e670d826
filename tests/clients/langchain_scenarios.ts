import { ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { assert, assertEquals } from "@std/assert";
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

const WEATHER = tool(({ city }) => `Sun in ${city}`, {
  name: "get_weather",
  description: "Weather of a city",
  schema: Place,
});

function scenariosOf(name: string, useResponsesApi: boolean): Scenario[] {
  const modelOf = ({ url, model }: Server) =>
    new ChatOpenAI({
      model,
      apiKey: "none",
      maxRetries: 0,
      maxTokens: 60,
      useResponsesApi,
      zdrEnabled: true,
      configuration: { baseURL: `${url}/v1`, fetch: checkedFetch },
    });
  return [
    [`${name}: a text, whole and streamed`, async (server) => {
      const model = modelOf(server);
      const whole = await model.invoke(HELLO);
      assertEquals(whole.text, ANSWER);
      assert(whole.usage_metadata!.input_tokens > 0);
      let text = "";
      for await (const chunk of await model.stream(HELLO)) text += chunk.text;
      assertEquals(text, ANSWER);
    }],
    [`${name}: an output parsed by a zod schema`, async (server) => {
      const model = modelOf(server).withStructuredOutput(Mood, { method: "jsonSchema" });
      const output = await model.invoke("How are you?");
      assertEquals(Mood.parse(output), output);
    }],
    [`${name}: a call, its result, and the answer`, async (server) => {
      const asking = modelOf(server).bindTools([WEATHER], { tool_choice: "get_weather" });
      const asked = await asking.invoke("The weather?");
      const [call] = asked.tool_calls ?? [];
      assert(call !== undefined);
      Place.parse(call.args);
      const result = await WEATHER.invoke(call);
      assert(result instanceof ToolMessage);
      const question = { role: "user", content: "The weather?" };
      const answered = await modelOf(server).invoke([question, asked, result]);
      assertEquals(answered.tool_calls, []);
    }],
  ];
}

export const LANGCHAIN: readonly Scenario[] = [
  ["@langchain/openai: embeddings of documents and of a query", async ({ url, model }) => {
    const configuration = { baseURL: `${url}/v1`, fetch: checkedFetch };
    const embeddings = new OpenAIEmbeddings({
      model,
      apiKey: "none",
      maxRetries: 0,
      configuration,
    });
    const vectors = await embeddings.embedDocuments(TEXTS);
    checkVectors(vectors);
    checkVectors([await embeddings.embedQuery(TEXTS[0]!), ...vectors.slice(1)]);
  }],
  ...scenariosOf("@langchain/openai by chat", false),
  ...scenariosOf("@langchain/openai by responses", true),
];

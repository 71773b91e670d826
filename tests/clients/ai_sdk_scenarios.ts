import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { assert, assertEquals } from "@std/assert";
import {
  embedMany,
  generateText,
  type LanguageModel,
  Output,
  stepCountIs,
  streamText,
  tool,
} from "ai";
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

const WEATHER = tool({ inputSchema: Place, execute: ({ city }) => `Sun in ${city}` });

function compatible({ url, model }: Server): LanguageModel {
  const options = { name: "quire", baseURL: `${url}/v1`, fetch: checkedFetch };
  return createOpenAICompatible({ ...options, supportsStructuredOutputs: true })(model);
}

/** Its default mode is the Responses API. */
function responses({ url, model }: Server): LanguageModel {
  return createOpenAI({ baseURL: `${url}/v1`, apiKey: "none", fetch: checkedFetch })(model);
}

function messages({ url, model }: Server): LanguageModel {
  return createAnthropic({ baseURL: `${url}/v1`, apiKey: "none", fetch: checkedFetch })(model);
}

function scenariosOf(name: string, modelOf: (server: Server) => LanguageModel): Scenario[] {
  const common = { maxRetries: 0 };
  return [
    [`${name}: a text, whole and streamed`, async (server) => {
      const body = { ...common, model: modelOf(server), prompt: HELLO };
      const whole = await generateText(body);
      assertEquals([whole.text, whole.finishReason], [ANSWER, "stop"]);
      assert(whole.usage.inputTokens! > 0 && whole.usage.outputTokens! > 0);
      const stream = streamText(body);
      let text = "";
      for await (const delta of stream.textStream) text += delta;
      assertEquals([text, await stream.finishReason], [ANSWER, "stop"]);
    }],
    [`${name}: an output parsed by a zod schema`, async (server) => {
      const { output } = await generateText({
        ...common,
        model: modelOf(server),
        prompt: "How are you?",
        output: Output.object({ schema: Mood }),
      });
      assertEquals(Mood.parse(output), output);
    }],
    [`${name}: calls whose results go into a second step, and a streamed call`, async (server) => {
      const body = {
        ...common,
        // What a client believes to be stored it would only refer to in the second step.
        providerOptions: { openai: { store: false } },
        model: modelOf(server),
        prompt: "The weather?",
        tools: { get_weather: WEATHER },
      };
      const { steps } = await generateText({
        ...body,
        stopWhen: stepCountIs(2),
        prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
        maxOutputTokens: 60,
      });
      assertEquals(steps.length, 2);
      assert(steps[0]!.toolResults.length > 0);
      assertEquals(steps[0]!.finishReason, "tool-calls");
      assertEquals(steps[1]!.toolCalls, []);
      const stream = streamText({ ...body, toolChoice: { type: "tool", toolName: "get_weather" } });
      await stream.consumeStream();
      const [call] = await stream.toolCalls;
      Place.parse(call!.input);
    }],
  ];
}

export const AI_SDK: readonly Scenario[] = [
  ["ai by both providers: embeddings", async ({ url, model }) => {
    const options = { baseURL: `${url}/v1`, fetch: checkedFetch };
    const models = [
      createOpenAICompatible({ ...options, name: "quire" }).textEmbeddingModel(model),
      createOpenAI({ ...options, apiKey: "none" }).textEmbeddingModel(model),
    ];
    for (const one of models) {
      const { embeddings } = await embedMany({ model: one, values: TEXTS, maxRetries: 0 });
      checkVectors(embeddings);
    }
  }],
  ...scenariosOf("@ai-sdk/openai-compatible", compatible),
  ...scenariosOf("@ai-sdk/openai", responses),
  ...scenariosOf("@ai-sdk/anthropic", messages),
];

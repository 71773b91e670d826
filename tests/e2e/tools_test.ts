import { assert, assertEquals } from "@std/assert";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { sharedServer } from "../support/server_process.ts";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Weather of a city",
    parameters: {
      type: "object",
      properties: {
        city: { $ref: "#/$defs/city" },
        days: { type: "integer", minimum: 1, maximum: 7 },
      },
      required: ["city", "days"],
      additionalProperties: false,
      $defs: { city: { enum: ["Paris", "Rome", "Oslo"] } },
    },
  },
} as const;
const NOW = { type: "function", function: { name: "now" } } as const;
const CITIES: readonly string[] = WEATHER.function.parameters.$defs.city.enum;

const shared = sharedServer(["--log-level", "warn"]);

function e2e(name: string, run: (client: OpenAI) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => run(new OpenAI({ baseURL: `${(await shared()).url}/v1`, apiKey: "none" })),
  });
}

type Asked = Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>;

function bodyOf(fields: Asked): OpenAI.ChatCompletionCreateParamsNonStreaming {
  return {
    model: "demo",
    messages: [{ role: "user", content: "What is the weather?" }],
    tools: [WEATHER as unknown as OpenAI.ChatCompletionTool, NOW],
    ...{ temperature: 1, max_tokens: 200 },
    ...fields,
  };
}

function checkCall(call: { function: { name: string; arguments: string } }): void {
  const given = JSON.parse(call.function.arguments);
  if (call.function.name === "now") return assertEquals(given, {});
  assertEquals(call.function.name, "get_weather");
  assert(CITIES.includes(given.city) && given.days >= 1 && given.days <= 7, JSON.stringify(given));
}

e2e(
  "the official client gets required and named calls that always parse, whole and streamed",
  async (client) => {
    const model = (await client.models.list()).data[0]!.id;
    for (let seed = 0; seed < 4; seed++) {
      const body = bodyOf({
        model,
        seed,
        n: 3,
        tool_choice: "required",
        parallel_tool_calls: seed % 2 === 0,
      });
      const { choices } = await client.chat.completions.create(body);
      for (const { finish_reason, message } of choices) {
        const calls = message.tool_calls ?? [];
        if (finish_reason === "length") continue;
        assertEquals([finish_reason, message.content], ["tool_calls", null]);
        assert(seed % 2 === 0 ? calls.length >= 1 : calls.length === 1, `${calls.length} calls`);
        for (const call of calls) if (call.type === "function") checkCall(call);
        assertEquals(new Set(calls.map(({ id }) => id)).size, calls.length);
      }
    }
    const named = bodyOf({
      model,
      tool_choice: { type: "function", function: { name: "get_weather" } },
    });
    const { choices: [choice] } = await client.chat.completions.create(named);
    assertEquals([choice!.finish_reason, choice!.message.tool_calls!.length], ["stop", 1]);
    const [call] = choice!.message.tool_calls!;
    if (call!.type === "function") checkCall(call!);

    const stream = client.chat.completions.stream({
      ...bodyOf({ model, tool_choice: "required", parallel_tool_calls: false }),
      stream: true,
    });
    const final = await stream.finalChatCompletion();
    const [streamed] = final.choices[0]!.message.tool_calls!;
    assertEquals(final.choices[0]!.finish_reason, "tool_calls");
    if (streamed!.type === "function") checkCall(streamed!);

    // The demo model's template knows no tools: free calls are refused, not ignored.
    const free = await client.chat.completions.create(bodyOf({ model })).catch((error) => error);
    assert(free instanceof OpenAI.BadRequestError && free.param === "tools", String(free));
  },
);

e2e("the official client parses answers by a zod schema", async (client) => {
  const Person = z.object({
    name: z.string().max(20),
    age: z.number().int().min(0).max(120),
    mood: z.enum(["good", "bad"]).nullable(),
    tags: z.array(z.enum(["a", "b"])).max(3),
  });
  const { choices } = await client.chat.completions.parse({
    model: (await client.models.list()).data[0]!.id,
    messages: [{ role: "user", content: "Make a JSON object with name and age." }],
    response_format: zodResponseFormat(Person, "person"),
    ...{ temperature: 1, n: 4, seed: 2, max_tokens: 200 },
  });
  for (const { finish_reason, message } of choices) {
    assertEquals(finish_reason, "stop");
    assertEquals(Person.parse(message.parsed), message.parsed!);
  }
});

import { assertEquals, assertStringIncludes } from "@std/assert";
import { bytesOf } from "../fake_engine.ts";
import { BOS, EOS, FakeText } from "../fake_text.ts";
import { DEFAULT_LIMITS } from "../../../src/http/services.ts";
import type { EncodeTextOptions } from "../../../src/http/text_port.ts";
import { readEvents, testServer } from "../server.ts";

const PATH = "/v1/completions";

// deno-lint-ignore no-explicit-any -- answers are JSON of many shapes
async function complete(server: ReturnType<typeof testServer>, body: unknown): Promise<any> {
  return await (await server.post(PATH, body)).json();
}

Deno.test("completionsRoute() answers with a text, at most 16 tokens unless asked for more", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("a".repeat(100));
  const { object, choices, usage } = await complete(server, { prompt: "x" });
  assertEquals([object, choices[0].text.length, choices[0].finish_reason], [
    "text_completion",
    16,
    "length",
  ]);
  assertEquals([usage.prompt_tokens, usage.completion_tokens], [2, 16]);
});

Deno.test("completionsRoute() takes texts and token ids, one prompt or several", async () => {
  const server = testServer();
  const prompts: [unknown, number[][]][] = [
    ["ab", [[BOS, 97, 98]]],
    [["a", "b"], [[BOS, 97], [BOS, 98]]],
    [[5, 6], [[5, 6]]],
    [[[5], [6, 7]], [[5], [6, 7]]],
  ];
  for (const [prompt, expected] of prompts) {
    await complete(server, { prompt });
    assertEquals(server.engine.sequences.map(({ prompt }) => [...prompt]), expected);
  }
  await complete(server, { prompt: "a", add_special_tokens: false });
  assertEquals([...server.engine.sequences[0]!.prompt], [97]);
});

Deno.test("completionsRoute() numbers choices prompt by prompt and seeds each prompt's samples alike", async () => {
  const server = testServer();
  server.engine.script = (index) => bytesOf(String(index));
  const body = { prompt: ["a", "bc"], n: 2, seed: 40 };
  const { choices, usage } = await complete(server, body);
  assertEquals(choices.map(({ text }: { text: string }) => text), ["0", "1", "2", "3"]);
  assertEquals(server.engine.sequences.map(({ params }) => params.seed), [40, 41, 40, 41]);
  assertEquals(server.engine.sequences.map(({ prompt }) => prompt.length), [2, 2, 3, 3]);
  assertEquals([usage.prompt_tokens, usage.completion_tokens], [5, 8]);
});

Deno.test("completionsRoute() echoes the prompt before the text, streamed or not", async () => {
  const server = testServer();
  const texts = (await complete(server, { prompt: ["a ", [66]], echo: true })).choices;
  assertEquals(texts.map(({ text }: { text: string }) => text), ["a Hello", "BHello"]);
  const response = await server.post(PATH, { prompt: "a ", echo: true, stream: true });
  const chunks = (await readEvents(response)).slice(0, -1);
  assertEquals(chunks[0].choices[0].text, "a ");
  assertEquals(chunks.map(({ choices }) => choices[0].text).join(""), "a Hello");
});

Deno.test("completionsRoute() reports log-probabilities as parallel arrays with offsets", async () => {
  const server = testServer();
  const { choices: [{ logprobs }] } = await complete(server, { prompt: "x", logprobs: 1 });
  assertEquals(logprobs.tokens, ["H", "e", "l", "l", "o"]);
  assertEquals(logprobs.token_logprobs, [-0.5, -1.5, -2.5, -3.5, -4.5]);
  assertEquals(logprobs.top_logprobs[1], { e: -1.5 });
  assertEquals(logprobs.text_offset, [0, 1, 2, 3, 4]);
  const plain = await complete(server, { prompt: "x" });
  assertEquals(plain.choices[0].logprobs, null);
});

Deno.test("completionsRoute() returns token ids with each choice", async () => {
  const server = testServer();
  const body = { prompt: [[5], [6]], return_token_ids: true };
  const { choices } = await complete(server, body);
  assertEquals(choices[1].prompt_token_ids, [6]);
  assertEquals(choices[1].token_ids, [...bytesOf("Hello"), EOS]);
});

Deno.test("completionsRoute() refuses ids outside the vocabulary, empty and overlong prompts", async () => {
  const server = testServer();
  const wrong: [unknown, string, string][] = [
    [{ prompt: [1, 264] }, "invalid_value", "prompt.1"],
    [{ prompt: [[1], []] }, "invalid_value", "prompt"],
    [{ prompt: "", add_special_tokens: false }, "invalid_value", "prompt"],
    [{ prompt: new Array(256).fill(1) }, "context_length_exceeded", "prompt"],
    [{ prompt: "x".repeat(2000) }, "context_length_exceeded", "prompt"],
    [{ prompt: "x", max_tokens: 255 }, "context_length_exceeded", "prompt"],
    [
      { prompt: "x", echo: true, logprobs: 0, use_beam_search: true },
      "unsupported_parameter",
      "echo",
    ],
    [{ prompt: "x", prompt_logprobs: 1, stream: true }, "unsupported_parameter", "prompt_logprobs"],
    [{ prompt: "x", max_tokens: 0, use_beam_search: true }, "invalid_value", "max_tokens"],
    [{ prompt: "x", max_tokens: 3, n_predict: 4 }, "invalid_value", "n_predict"],
    [{ prompt: "x", max_tokens: -2 }, "invalid_value", "max_tokens"],
    [{ prompt: "x", num_ctx: 4096 }, "unsupported_parameter", "num_ctx"],
    [{ prompt: "x", options: { num_ctx: 1 } }, "unsupported_parameter", "options"],
    [{ prompt: "x", suffix: "y" }, "unsupported_parameter", "suffix"],
    [{ prompt: "x", logprobs: true }, "invalid_type", "logprobs"],
    [{ prompt: "x", logprobs: 21 }, "invalid_value", "logprobs"],
  ];
  for (const [body, code, param] of wrong) {
    const { error } = await complete(server, body);
    assertEquals([error?.code, error?.param], [code, param]);
  }
  assertEquals(server.engine.requests.length, 0);
});

Deno.test("completionsRoute() draws a fresh seed for each prompt that brings none", async () => {
  const server = testServer();
  await complete(server, { prompt: ["a", "a"] });
  const [first, second] = server.engine.sequences.map(({ params }) => params.seed);
  assertEquals(first === second, false);
});

Deno.test("completionsRoute() refuses more sequences than a request may queue, before it looks at a prompt", async () => {
  let numEncoded = 0;
  class CountingText extends FakeText {
    override encode(texts: readonly string[], options?: EncodeTextOptions) {
      numEncoded += texts.length;
      return super.encode(texts, options);
    }
  }
  const limits = { ...DEFAULT_LIMITS, maxNumQueuedSeqs: 6 };
  const server = testServer({ limits, text: new CountingText() });
  const wrong: [unknown, string, string][] = [
    [{ prompt: Array(7).fill("x") }, "prompt", "prompt has 7 elements, which with n 1 makes 7"],
    [{ prompt: Array(1024).fill("x"), n: 64 }, "prompt", "makes 65536 sequences, but at most 6"],
    [
      { prompt: [[1], [999]], n: 4 },
      "n",
      "prompt has 2 elements, which with n 4 makes 8 sequences",
    ],
    [{ prompt: [1, 2, 3], n: 7 }, "n", "n must be at most 6, got 7"],
    [{ prompt: "x", n: 7, use_beam_search: true }, "n", "n must be at most 6, got 7"],
  ];
  for (const [body, param, message] of wrong) {
    const { error } = await complete(server, body);
    assertEquals([error?.code, error?.param], ["too_many_sequences", param]);
    assertStringIncludes(error.message, message);
  }
  assertEquals([numEncoded, server.engine.requests.length], [0, 0]);
  await complete(server, { prompt: ["a", "b", "c"], n: 2 });
  assertEquals([numEncoded, server.engine.sequences.length], [3, 6]);
});

/**
 * Log-probabilities of prompts, as evaluation harnesses ask for them, and llama.cpp's spellings.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { checkNumScores } from "../../../src/http/prompt/prompt_readings.ts";
import { IGNORED_FIELDS_HEADER } from "../../../src/http/fields/ignored_fields.ts";
import { CompletionAnswer, PromptLogprobs, Timings } from "../../support/answer_schemas.ts";
import { bytesOf } from "../fake_engine.ts";
import { BOS, EOS, FakeText } from "../fake_text.ts";
import { CHAT, readEvents, type TestServer, testServer } from "../server.ts";

const PATH = "/v1/completions";

async function complete(server: TestServer, body: unknown) {
  return CompletionAnswer.parse(await (await server.post(PATH, body)).json());
}

/** What lm-evaluation-harness's `local-completions` does with an answer: a sum, and "is greedy". */
function scored(
  { choices }: Awaited<ReturnType<typeof complete>>,
  contextLengths: readonly number[],
) {
  return choices.toSorted((a, b) => a.index - b.index).map(({ logprobs }, i) => {
    const own = logprobs!.token_logprobs.slice(contextLengths[i]!, -1) as number[];
    const top = logprobs!.top_logprobs.slice(contextLengths[i]!, -1);
    return {
      logprob: own.reduce((sum, one) => sum + one, 0),
      isGreedy: own.every((one, j) => one === Math.max(...Object.values(top[j]!))),
    };
  });
}

Deno.test("a harness's request, token arrays with echo and logprobs, is scored as it slices it", async () => {
  const server = testServer();
  const prompts = [[5, 6, 7, 8], [5, 9, 10]];
  const request = { temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true };
  const answer = await complete(server, { model: "alias", prompt: prompts, ...request });
  // Tokens 1 and 3 of a prompt are the fake's likeliest, with -0.25 times their place.
  assertEquals(scored(answer, [3, 1]), [
    { logprob: -0.75, isGreedy: true },
    { logprob: -0.75, isGreedy: false },
  ]);
  assertEquals(answer.choices[0]!.logprobs!.token_logprobs, [null, -0.25, -0.5, -0.75, -0.5]);
  assertEquals(server.engine.sequences.map(({ readout }) => readout), [
    { numLogprobs: 1 },
    { numLogprobs: 1 },
  ]);
});

Deno.test("the end of sequence is scored behind an echo, so that slices are right when it is drawn", async () => {
  const server = testServer();
  server.engine.script = () => [EOS];
  const body = { prompt: [[5, 6, 7]], max_tokens: 1, logprobs: 1, echo: true };
  const { choices: [choice] } = await complete(server, body);
  assertEquals(choice!.finish_reason, "stop");
  assertEquals(choice!.logprobs!.token_logprobs, [null, -0.25, -0.5, -0.5]);
  // Without an echo it is no part of the answer, as before.
  const plain = await complete(server, { ...body, echo: false });
  assertEquals(plain.choices[0]!.logprobs!.tokens, []);
});

Deno.test("max_tokens 0 scores a prompt and generates nothing", async () => {
  const server = testServer();
  const body = { prompt: "abc", max_tokens: 0, logprobs: 2, echo: true };
  const { choices: [choice], usage } = await complete(server, body);
  assertEquals([choice!.text, choice!.finish_reason], ["abc", "length"]);
  assertEquals(choice!.logprobs!.tokens, ["<bos>", "a", "b", "c"]);
  assertEquals(choice!.logprobs!.text_offset, [0, 0, 1, 2]);
  assertEquals(choice!.logprobs!.top_logprobs[1], { a: -0.25, b: -1.25 });
  assertEquals([usage.prompt_tokens, usage.completion_tokens], [4, 0]);
  assertEquals(server.engine.sequences[0]!.params.maxTokens, 0);
  const silent = await complete(server, { prompt: "abc", max_tokens: 0 });
  assertEquals([silent.choices[0]!.text, silent.choices[0]!.logprobs], ["", null]);
});

Deno.test("offsets of an answer behind an echo go on where the prompt ends", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("xy");
  const { choices: [choice] } = await complete(server, { prompt: "abc", logprobs: 0, echo: true });
  assertEquals(choice!.text, "abcxy");
  assertEquals(choice!.logprobs!.text_offset, [0, 0, 1, 2, 3, 4, 5]);
  assertEquals(choice!.logprobs!.tokens.slice(-3), ["x", "y", "<eos>"]);
});

Deno.test("every sample of a prompt is echoed with the log-probabilities that the first one read", async () => {
  const server = testServer();
  const body = { prompt: ["ab", "c"], n: 2, max_tokens: 1, logprobs: 1, echo: true };
  const { choices } = await complete(server, body);
  assertEquals(choices.map(({ logprobs }) => logprobs!.tokens.length), [4, 4, 3, 3]);
  const readouts = server.engine.sequences.map(({ readout }) => readout !== undefined);
  assertEquals(readouts, [true, false, true, false]);
});

Deno.test("a stream begins with the prompt and its log-probabilities", async () => {
  const server = testServer();
  const body = { prompt: "ab", max_tokens: 1, logprobs: 1, echo: true, stream: true };
  const chunks = (await readEvents(await server.post(PATH, body))).slice(0, -1);
  const { text, logprobs } = chunks[0].choices[0];
  assertEquals([text, logprobs.tokens], ["ab", ["<bos>", "a", "b"]]);
  assertEquals(logprobs.token_logprobs, [null, -0.25, -0.5]);
  assertEquals(chunks[1].choices[0].logprobs.text_offset, [2]);
});

Deno.test("prompt_logprobs lists them by token id, in completions and in chats", async () => {
  const server = testServer();
  const { choices } = await complete(server, { prompt: [[5, 6, 7]], prompt_logprobs: 1 });
  assertEquals(choices[0]!.prompt_logprobs, [
    null,
    { 6: { logprob: -0.25, rank: 1, decoded_token: "\u0006" } },
    {
      7: { logprob: -0.5, rank: null, decoded_token: "\u0007" },
      8: { logprob: -0.375, rank: 1, decoded_token: "\b" },
    },
  ]);
  const body = { ...CHAT, prompt_logprobs: 0, max_tokens: 1, n: 2 };
  const chat = await (await server.post("/v1/chat/completions", body)).json();
  const listed = PromptLogprobs.parse(chat.prompt_logprobs);
  assertEquals(listed.length, chat.usage.prompt_tokens);
  assertEquals(chat.choices.length, 2);
});

Deno.test("checkNumScores() refuses what is too much for one answer, by name of the field", () => {
  const prompts = Array.from({ length: 512 }, () => new Uint32Array(1024));
  checkNumScores(prompts, {});
  checkNumScores(prompts, { echoed: 1 });
  for (
    const [asked, param] of [
      [{ echoed: 2 }, "logprobs"],
      [{ echoed: 0, listed: 2 }, "prompt_logprobs"],
    ] as const
  ) {
    const { data } = assertThrows(() => checkNumScores(prompts, asked), RequestError);
    assertEquals([data.param, data.details?.["limit"]], [param, 2 ** 20]);
  }
});

Deno.test("max_tokens -1 and llama.cpp's n_predict mean what they say", async () => {
  const server = testServer();
  const cases: [Record<string, unknown>, number][] = [
    [{ max_tokens: -1 }, 256 - 3],
    [{ n_predict: -1 }, 256 - 3],
    [{ n_predict: 7 }, 7],
    [{ n_predict: 7, max_tokens: 7 }, 7],
    [{ n_predict: 0 }, 0],
  ];
  for (const [fields, maxTokens] of cases) {
    await complete(server, { prompt: [[1, 2, 3]], ...fields });
    assertEquals(server.engine.sequences[0]!.params.maxTokens, maxTokens, JSON.stringify(fields));
  }
  await server.post("/v1/chat/completions", { ...CHAT, max_tokens: -1 });
  const { prompt, params } = server.engine.sequences[0]!;
  assertEquals(prompt.length + params.maxTokens, 256);
});

Deno.test("fields without a meaning here are named in a header, and no others", async () => {
  const server = testServer();
  const headerOf = async (path: string, body: unknown) => {
    const response = await server.post(path, body);
    assertEquals(response.status, 200);
    await response.body?.cancel();
    return response.headers.get(IGNORED_FIELDS_HEADER);
  };
  const llama = { cache_prompt: true, id_slot: 3, n_keep: 5, repeat_penalty: 1.1, n_predict: 4 };
  assertEquals(await headerOf(PATH, { prompt: "x", ...llama }), "cache_prompt, id_slot, n_keep");
  const stream = { ...CHAT, id_slot: 1, stream: true };
  assertEquals(await headerOf("/v1/chat/completions", stream), "id_slot");
  assertEquals(await headerOf(PATH, { prompt: "x", mirostat: 0, user: null, max_tokens: 2 }), null);
  // Nothing that could not stand in a header, and no more than a few.
  const odd = { "a\r\nb": 1, "\u00e9": 1, ["x".repeat(99)]: 1 };
  assertEquals(await headerOf(PATH, { prompt: "x", ...odd }), null);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, 1]));
  assert((await headerOf(PATH, { prompt: "x", ...many }))!.endsWith("f31, and 8 more"));
});

Deno.test("timings come where they are asked for, whole and at the end of a stream", async () => {
  const server = testServer();
  server.engine.numCachedTokens = 2;
  const { timings, usage } = await complete(server, { prompt: "abc", timings: true });
  assertEquals([timings!.cache_n, timings!.prompt_n], [2, 2]);
  assertEquals(timings!.predicted_n, usage.completion_tokens);
  const body = { ...CHAT, timings_per_token: true, stream: true };
  const events = await readEvents(await server.post("/v1/chat/completions", body));
  Timings.parse(events.at(-2).timings);
  assertEquals((await complete(server, { prompt: "abc" })).timings, undefined);
});

Deno.test("suffix is put behind the prompt by a model's fill-in tokens, and refused without them", async () => {
  class FillInText extends FakeText {
    readonly fillIn = { prefix: 1, suffix: 2, middle: 3 };
  }
  const server = testServer({ text: new FillInText() });
  await complete(server, { prompt: ["ab", [70]], suffix: "yz" });
  assertEquals(server.engine.sequences.map(({ prompt }) => [...prompt]), [
    [BOS, 1, 97, 98, 2, 121, 122, 3],
    [BOS, 1, 70, 2, 121, 122, 3],
  ]);
  await complete(server, { prompt: "a", suffix: "z", add_special_tokens: false });
  assertEquals([...server.engine.sequences[0]!.prompt], [1, 97, 2, 122, 3]);
  const echoed = await (await server.post(PATH, { prompt: "a", suffix: "z", echo: true })).json();
  assertEquals([echoed.error.code, echoed.error.param], ["unsupported_parameter", "suffix"]);
  const none = await (await testServer().post(PATH, { prompt: "a", suffix: "z" })).json();
  assertEquals(
    none.error.message,
    "suffix is not supported here: the model has no tokens for filling text in",
  );
});

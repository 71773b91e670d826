import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import OpenAI, { APIError, NotFoundError } from "openai";
import { goldenPrompts } from "../support/demo_engine.ts";
import { RenderAnswer, RerankAnswer } from "../support/answer_schemas.ts";
import { ServerProcess } from "../support/server_process.ts";

const MODEL = "quire-demo";
const server = await ServerProcess.start(["--rerank-tokens", "No,Yes"]);
const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });

/** All tests share one server; each leaves it idle. */
function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await run();
      await server.idle();
    },
  });
}

const HELLO = [{ role: "user" as const, content: "Hello!" }];
const STORY = [{ role: "user" as const, content: "Tell me a story about a fox and a lantern." }];

e2e("a chat completion answers with sensible text", async () => {
  const answer = await client.chat.completions.create({ model: MODEL, messages: HELLO });
  assertEquals(answer.choices[0]!.message.content, "Hello! How can I help you?");
  assertEquals(answer.choices[0]!.finish_reason, "stop");
  assertEquals(answer.model, MODEL);
  assertEquals(answer.usage!.prompt_tokens, 11);
  assertEquals(answer.usage!.prompt_tokens_details!.cached_tokens, 0);
  assertEquals(
    answer.usage!.total_tokens,
    answer.usage!.prompt_tokens + answer.usage!.completion_tokens,
  );
});

e2e("a streamed chat completion is the same text, with usage when asked for", async () => {
  const whole = await client.chat.completions.create({ model: MODEL, messages: STORY });
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: STORY,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  let numChunks = 0;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
    numChunks++;
  }
  assertEquals(text, whole.choices[0]!.message.content);
  // The first block of the prompt was cached by the first request.
  assertEquals(usage, { ...whole.usage!, prompt_tokens_details: { cached_tokens: 16 } });
  assert(numChunks > 50, `${numChunks} chunks`);
});

e2e("completions take text, several texts and token ids, with n samples each", async () => {
  const prompt = "Once upon a time";
  const one = await client.completions.create({ model: MODEL, prompt, max_tokens: 5 });
  assertStringIncludes(one.choices[0]!.text, " there was a");
  const ids = goldenPrompts().find((golden) => golden.prompt === prompt)!.prompt_ids;
  const byIds = await client.completions.create({ model: MODEL, prompt: [...ids], max_tokens: 5 });
  assertEquals(byIds.choices[0]!.text, one.choices[0]!.text);
  const several = await client.completions.create({
    model: MODEL,
    prompt: [prompt, "The fox"],
    n: 2,
    max_tokens: 5,
  });
  assertEquals(several.choices.map(({ index }) => index), [0, 1, 2, 3]);
  assertEquals(several.choices[1]!.text, one.choices[0]!.text);
  assertEquals(several.usage!.completion_tokens, 20);
});

e2e("a seed reproduces a sampled answer whatever else runs, and others differ", async () => {
  const ask = async (seed: number) => {
    const answer = await client.completions.create({
      model: MODEL,
      prompt: "Once upon a time",
      max_tokens: 40,
      temperature: 1.5,
      seed,
    });
    return answer.choices[0]!.text;
  };
  const alone = await ask(7);
  const crowd = await Promise.all([7, 8, 9, 10, 11, 7].map(ask));
  assertEquals(crowd[0], alone);
  assertEquals(crowd[5], alone);
  assert(new Set(crowd).size >= 4);
});

e2e("stop strings end a completion and are not part of it, streamed or not", async () => {
  const body = {
    model: MODEL,
    messages: [{ role: "user" as const, content: "Count from 3 to 12." }],
    stop: ["8, 9"],
  };
  const whole = await client.chat.completions.create(body);
  assertEquals(whole.choices[0]!.message.content, "3, 4, 5, 6, 7, ");
  assertEquals(whole.choices[0]!.finish_reason, "stop");
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assertEquals(text, "3, 4, 5, 6, 7, ");
});

/** Names, as evaluation harnesses read them. */
type HarnessLogprobs = {
  token_logprobs: (number | null)[];
  top_logprobs: Record<string, number>[];
};

e2e(
  "an evaluation harness scores continuations of token arrays, the same when cached",
  async () => {
    const golden = goldenPrompts().find(({ prompt }) => prompt === "Once upon a time")!;
    // Greedy ids, and others, behind one context.
    const context = [...golden.prompt_ids];
    const continuations = [golden.greedy_ids.slice(0, 4), [700, 5, 900, 33]];
    const prompt = continuations.map((ids) => [...context, ...ids]);
    const request = { temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true };
    const ask = async (more: object = {}) => {
      const body = { model: MODEL, prompt, ...request, ...more };
      const { choices, usage } = await client.completions.create(body);
      return {
        usage: usage!,
        scores: choices.map((choice) => {
          const { token_logprobs, top_logprobs } = choice.logprobs as unknown as HarnessLogprobs;
          assertEquals(token_logprobs[0], null);
          const own = token_logprobs.slice(context.length, context.length + 4) as number[];
          const top = top_logprobs.slice(context.length, context.length + 4);
          return {
            sum: own.reduce((total, one) => total + one, 0),
            isGreedy: own.every((one, i) => one === Math.max(...Object.values(top[i]!))),
          };
        }),
      };
    };
    const { scores } = await ask();
    assertEquals(scores.map(({ isGreedy }) => isGreedy), [true, false]);
    assert(scores[0]!.sum > scores[1]!.sum + 5);
    const again = await ask({ max_tokens: 0 });
    assertEquals(again.usage.completion_tokens, 0);
    again.scores.forEach(({ sum, isGreedy }, i) => {
      assertAlmostEquals(sum, scores[i]!.sum, 1e-3);
      assertEquals(isGreedy, scores[i]!.isGreedy);
    });
  },
);

e2e("embeddings are vectors of length 1 that do not depend on what else is asked", async () => {
  const input = ["The fox found a lantern.", "A fox has a lantern.", "Count from 3 to 12."];
  const { data, usage, model } = await client.embeddings.create({ model: MODEL, input });
  assertEquals([data.length, model], [3, MODEL]);
  assertEquals(usage.total_tokens, usage.prompt_tokens);
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  for (const { embedding } of data) assertAlmostEquals(dot(embedding, embedding), 1, 1e-5);
  const [fox, other, count] = data.map(({ embedding }) => embedding);
  assert(dot(fox!, other!) > dot(fox!, count!));
  const alone = await client.embeddings.create({
    ...{ model: MODEL, input: input[0]!, encoding_format: "float" as const },
  });
  assertAlmostEquals(dot(alone.data[0]!.embedding, fox!), 1, 1e-4);
  const cut = await client.embeddings.create({ model: MODEL, input: input[0]!, dimensions: 32 });
  assertEquals(cut.data[0]!.embedding.length, 32);
  assertAlmostEquals(dot(cut.data[0]!.embedding, cut.data[0]!.embedding), 1, 1e-5);
  const refused = await assertRejects(
    () => client.embeddings.create({ model: MODEL, input: "x", dimensions: 1e5 }),
    APIError,
  );
  assertEquals([refused.status, refused.param], [400, "dimensions"]);
});

e2e(
  "documents are ranked by the probabilities that the model itself gives to yes and no",
  async () => {
    const post = async (path: string, body: object) => {
      const headers = { "content-type": "application/json" };
      return await (await server.fetch(path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      }))
        .json();
    };
    const documents = ["A fox carries a lantern.", "Three, four, five."];
    const query = "Who has a light?";
    const { results } = RerankAnswer.parse(await post("/v1/rerank", { query, documents }));
    assertEquals(results.length, 2);
    const idsOf = async (prompt: string): Promise<number[]> =>
      (await post("/tokenize", { prompt, add_special_tokens: false })).tokens;
    const [[no], [yes]] = [await idsOf("No"), await idsOf("Yes")] as [[number], [number]];
    for (const { index, relevance_score } of results) {
      const messages = [{
        role: "system",
        content: "Judge whether the Document meets the requirements based on the Query and the " +
          'Instruct provided. Note that the answer can only be "yes" or "no".',
      }, {
        role: "user",
        content:
          "<Instruct>: Given a web search query, retrieve relevant passages that answer the " +
          `query\n<Query>: ${query}\n<Document>: ${documents[index]}`,
      }];
      const rendered = RenderAnswer.parse(await post("/v1/chat/completions/render", { messages }));
      const { choices } = await client.completions.create({
        ...{ model: MODEL, echo: true, logprobs: 0, max_tokens: 0 },
        prompt: [no, yes].map((id) => [...rendered.prompt_token_ids, id]),
      });
      const [ofNo, ofYes] = choices.map(({ logprobs }) => logprobs!.token_logprobs!.at(-1)!);
      assertAlmostEquals(relevance_score, 1 / (1 + Math.exp(ofNo! - ofYes!)), 1e-3);
    }
  },
);

e2e("log-probabilities come back per token", async () => {
  const answer = await client.chat.completions.create({
    model: MODEL,
    messages: HELLO,
    logprobs: true,
    top_logprobs: 3,
  });
  const content = answer.choices[0]!.logprobs!.content!;
  assertEquals(content.map(({ token }) => token).join(""), "Hello! How can I help you?");
  for (const { logprob, token, top_logprobs } of content) {
    assertEquals(top_logprobs.length, 3);
    assertEquals(top_logprobs[0]!.token, token);
    assert(logprob <= 0 && logprob === top_logprobs[0]!.logprob);
  }
});

e2e("16 clients at once share steps, and a short answer does not wait for a long one", async () => {
  const counters = async () => ({
    steps: await server.metric("quire:steps_total"),
    tokens: await server.metric("vllm:generation_tokens_total"),
  });
  const before = await counters();
  const long = Array.from(
    { length: 15 },
    () =>
      client.chat.completions.create({ model: MODEL, messages: STORY }).then((answer) => ({
        answer,
        at: performance.now(),
      })),
  );
  const short = client.chat.completions.create({ model: MODEL, messages: HELLO, max_tokens: 3 })
    .then((answer) => ({ answer, at: performance.now() }));
  const first = await short;
  const others = await Promise.all(long);
  const texts = new Set(others.map(({ answer }) => answer.choices[0]!.message.content));
  assertEquals(texts.size, 1);
  assertStringIncludes([...texts][0]!, "Once upon a time there was a proud fox named George");
  assert(others.every(({ at }) => at > first.at), "the short answer came last");
  const after = await counters();
  const tokensPerStep = (after.tokens - before.tokens) / (after.steps - before.steps);
  assert(tokensPerStep > 8, `${tokensPerStep} tokens per step: the steps are not shared`);
});

e2e("a client that goes away frees its blocks", async () => {
  const abort = new AbortController();
  const stream = await client.chat.completions.create(
    { model: MODEL, messages: STORY, stream: true, max_tokens: 1500 },
    { signal: abort.signal },
  );
  const before = await server.metric('vllm:request_success_total{finished_reason="abort"');
  for await (const _ of stream) break;
  abort.abort();
  await server.idle();
  const after = await server.metric('vllm:request_success_total{finished_reason="abort"');
  assertEquals(after, before + 1);
});

e2e("mistakes are answered in OpenAI's shape, and the server goes on", async () => {
  const unknown = await assertRejects(
    () => client.chat.completions.create({ model: "gpt-5", messages: HELLO }),
    NotFoundError,
  );
  assertEquals(unknown.code, "model_not_found");
  const mistakes: [body: Record<string, unknown>, param: string | null][] = [
    [{ messages: HELLO, max_tokens: 1e300 }, "max_tokens"],
    [{ messages: HELLO, temperature: "hot" }, "temperature"],
    [{ messages: HELLO, n: 100000 }, "n"],
    [{ messages: "hi" }, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages.0.content"],
    [{ messages: HELLO, frequency_penalty: 3 }, "frequency_penalty"],
    [{ messages: HELLO, bad_words: ["no"] }, "bad_words"],
  ];
  for (const [body, param] of mistakes) {
    const response = await server.post("/v1/chat/completions", { model: MODEL, ...body });
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, param], JSON.stringify(error));
    assert(typeof error.message === "string" && !/\n\s+at /.test(error.message));
  }
});

e2e("a prompt beyond the context is refused with the numbers", async () => {
  const error = await assertRejects(
    () =>
      client.chat.completions.create({
        model: MODEL,
        messages: [{ role: "user", content: "fox ".repeat(3000) }],
      }),
    APIError,
    "maximum context length is 2048 tokens",
  );
  assertEquals([error.status, error.code], [400, "context_length_exceeded"]);
  const tooMany = { model: MODEL, messages: HELLO, max_tokens: 2048 };
  assertEquals((await server.post("/v1/chat/completions", tooMany)).status, 400);
});

e2e("malformed JSON, wrong methods, types and sizes get their status", async () => {
  const json = { "content-type": "application/json" };
  const path = "/v1/chat/completions";
  const expected: [RequestInit, number][] = [
    [{ method: "POST", headers: json, body: "{" }, 400],
    [{ method: "POST", headers: json, body: "[]" }, 400],
    [{ method: "POST", headers: { "content-type": "text/csv" }, body: "{}" }, 415],
    [{ method: "GET" }, 405],
    [{ method: "POST", headers: json, body: `"${"x".repeat(9 * 2 ** 20)}"` }, 413],
  ];
  for (const [init, status] of expected) {
    const response = await server.fetch(path, init);
    assertEquals(response.status, status);
    assertEquals(typeof (await response.json()).error.message, "string");
  }
  // The same route without /v1, and none.
  assertEquals((await server.fetch("/chat/completions", { method: "POST" })).status, 400);
  assertEquals((await server.fetch("/chat/nothing", { method: "POST" })).status, 404);
});

e2e("/health, /v1/models and /version answer", async () => {
  assertEquals((await server.fetch("/health")).status, 200);
  const models = await client.models.list();
  assertEquals(models.data.map(({ id }) => id), [MODEL]);
  assertEquals((await client.models.retrieve(MODEL)).id, MODEL);
  assertEquals((await (await server.fetch("/version")).json()).version, "0.1.0");
});

e2e("the server's own curl line works as pasted", async () => {
  const line = server.output.split("\n").find((line) => line.includes("curl -N"))!;
  const [noBuffer, url, ...flags] = await argumentsOf("curl", line);
  assertEquals([noBuffer, url!.startsWith(server.url)], ["-N", true]);
  assertEquals([flags[0], flags[2], flags.length], ["-H", "-d", 4]);
  const [name, value] = flags[1]!.split(": ");
  const init = { method: "POST", headers: { [name!]: value! }, body: flags[3]! };
  const response = await fetch(url!, init);
  const text = await response.text();
  assertEquals(response.status, 200, text);
  assertStringIncludes(text, "data: {");
  assertStringIncludes(text, "data: [DONE]");
});

/**
 * What a shell hands to `program` in `line`, whether or not there is such a program on this
 * machine.
 */
async function argumentsOf(program: string, line: string): Promise<string[]> {
  const script = `${program}() { printf '%s\\n' "$@"; }\n${line}`;
  const { stdout, success } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  assert(success);
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}

e2e("the terminal says what runs, how much fits and where", async () => {
  for (
    const word of ["Device", "KV pool", "blocks of 16", "MiB", "sequences of 2,048", server.url]
  ) {
    assertStringIncludes(server.output, word);
  }
  await Promise.resolve();
});

Deno.test({
  name: "Ctrl-C lets a running stream finish and exits 0",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: STORY,
      stream: true,
    });
    let text = "";
    let finish: string | null | undefined;
    let hasBegun = false;
    for await (const chunk of stream) {
      // Once: a second signal ends the server at once.
      if (!hasBegun) server.signal("SIGINT");
      hasBegun = true;
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    assertEquals(finish, "stop");
    assertStringIncludes(text, "And so everything ended well.");
    assertEquals(await server.exitCode(), 0, server.output);
  },
});

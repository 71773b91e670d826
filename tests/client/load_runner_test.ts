import { assert, assertEquals } from "@std/assert";
import { runLoad } from "../../src/client/load_runner.ts";
import { FakeOpenAi } from "../support/fake_openai.ts";

const turn = (text: string) => ({ text, maxTokens: 4 });
const USAGE = {
  prompt_tokens: 7,
  completion_tokens: 3,
  prompt_tokens_details: { cached_tokens: 2 },
};

Deno.test("runLoad() asks each turn with everything said before it", async () => {
  const fake = new FakeOpenAi(({ body }) => ({
    pieces: [`to ${body.messages.length}`, "!"],
    usage: USAGE,
  }));
  const { results, peakConcurrency } = await runLoad(
    [{ beginMs: 0, turns: [turn("a"), turn("b")] }],
    { client: fake.client, endpoint: "chat", fields: { model: "m", ignore_eos: true } },
  );
  assertEquals(fake.requests.map(({ body }) => body.messages), [
    [{ role: "user", content: "a" }],
    [
      { role: "user", content: "a" },
      { role: "assistant", content: "to 1!" },
      { role: "user", content: "b" },
    ],
  ]);
  const { model, max_tokens, ignore_eos } = fake.requests[0]!.body;
  assertEquals([model, max_tokens, ignore_eos, peakConcurrency], ["m", 4, true, 1]);
  assertEquals(results.map((result) => result.turn), [0, 1]);
  const [{ ttft, itls, latency, promptTokens, outputTokens, cachedTokens }] = results as [
    typeof results[0],
  ];
  assertEquals([promptTokens, outputTokens, cachedTokens, itls.length], [7, 3, 2, 1]);
  assert(ttft <= latency && Math.abs(ttft + itls[0]! - latency) < 1e-6);
});

Deno.test("runLoad() counts pieces where the server counts nothing", async () => {
  const fake = new FakeOpenAi(() => ({ pieces: ["a", "b", "c"] }));
  const { results } = await runLoad([{ beginMs: 0, turns: [turn("x")] }], {
    client: fake.client,
    endpoint: "completions",
    fields: {},
  });
  assertEquals([results[0]!.outputTokens, results[0]!.cachedTokens], [3, undefined]);
  assertEquals(fake.requests[0]!.body.prompt, "x");
});

Deno.test("runLoad() keeps the limit of requests at once, and lets waiting ones follow", async () => {
  let inside = 0;
  let most = 0;
  const fake = new FakeOpenAi(() => {
    most = Math.max(most, ++inside);
    queueMicrotask(() => inside--);
    return { pieces: ["a"] };
  });
  const sessions = Array.from({ length: 9 }, (_, i) => ({ beginMs: 0, turns: [turn(`${i}`)] }));
  const { results, peakConcurrency } = await runLoad(sessions, {
    client: fake.client,
    endpoint: "chat",
    fields: {},
    maxConcurrency: 2,
  });
  assertEquals([results.length, peakConcurrency], [9, 2]);
  assert(most <= 2);
});

Deno.test("runLoad() tells failures apart, and ends a conversation at one", async () => {
  const fake = new FakeOpenAi(({ body }) => {
    const { content } = body.messages.at(-1);
    if (content === "bad") return { refusal: [500, "no"] };
    return { pieces: content === "empty" ? [] : ["a"] };
  });
  const { results } = await runLoad(
    [
      { beginMs: 0, turns: [turn("bad"), turn("never asked")] },
      { beginMs: 0, turns: [turn("empty")] },
      { beginMs: 1, turns: [turn("good")] },
    ],
    { client: fake.client, endpoint: "chat", fields: {} },
  );
  assertEquals(results.map(({ error }) => error).sort(), [
    "http://fake/v1/chat/completions answered 500: no",
    "the answer was empty",
    undefined,
  ]);
});

Deno.test("runLoad() ends early: running requests break off, others do not begin", async () => {
  const stop = new AbortController();
  const fake = new FakeOpenAi(() => {
    setTimeout(() => stop.abort(), 0);
    return { pieces: ["a"], end: "silence" };
  });
  const { results } = await runLoad(
    [{ beginMs: 0, turns: [turn("a"), turn("b")] }, { beginMs: 1e9, turns: [turn("c")] }],
    { client: fake.client, endpoint: "chat", fields: {}, signal: stop.signal },
  );
  assertEquals(results.map(({ error }) => error), ["stopped"]);
  assertEquals([fake.requests.length, fake.numCancelled], [1, 1]);
});

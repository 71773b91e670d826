import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { beamSearchOf } from "../../../src/http/fields/beam_fields.ts";
import { bytesOf } from "../fake_engine.ts";
import { readEvents, testServer } from "../server.ts";

const CHAT = { messages: [{ role: "user", content: "hi" }] };

Deno.test("beamSearchOf() is undefined unless a search is asked for", () => {
  assertEquals(beamSearchOf({ n: 3, length_penalty: 1 }), undefined);
  assertEquals(beamSearchOf({ use_beam_search: false, stop: "a" }), undefined);
  assertEquals(beamSearchOf({ use_beam_search: null }), undefined);
});

Deno.test("beamSearchOf() takes n as the width, which is 1 by default, and ignores how to draw", () => {
  assertEquals(beamSearchOf({ use_beam_search: true }), {
    width: 1,
    lengthPenalty: 1,
    earlyStopping: true,
  });
  const drawing = { temperature: 0.7, top_p: 0.5, top_k: 3, min_p: 0.1, seed: 4 };
  const fields = { n: 10, length_penalty: -0.5, early_stopping: false, ...drawing };
  assertEquals(beamSearchOf({ use_beam_search: true, ...fields }), {
    width: 10,
    lengthPenalty: -0.5,
    earlyStopping: false,
  });
});

Deno.test("beamSearchOf() refuses more beams than there are candidates for, with the numbers", () => {
  const { data } = assertThrows(
    () => beamSearchOf({ use_beam_search: true, n: 11 }),
    RequestError,
  );
  assertEquals([data.status, data.param], [400, "n"]);
  assertEquals(data.details, { n_beams: 11, limit: 10 });
  assertStringIncludes(data.message, "at most 10");
});

Deno.test("beamSearchOf() refuses by name what a search does not heed, and lets neutral values pass", () => {
  const asked: Record<string, unknown>[] = [
    { stop: ["a"] },
    { stop: "a" },
    { frequency_penalty: 0.1 },
    { presence_penalty: -1 },
    { repetition_penalty: 1.1 },
    { min_tokens: 2 },
    { logit_bias: { "5": 1 } },
    { bad_words: ["x"] },
    { allowed_token_ids: [1] },
  ];
  for (const fields of asked) {
    const request = { use_beam_search: true, ...fields };
    const { data } = assertThrows(() => beamSearchOf(request), RequestError);
    assertEquals([data.code, data.param], ["unsupported_parameter", Object.keys(fields)[0]]);
  }
  const neutral = { stop: [], frequency_penalty: 0, repetition_penalty: 1, logit_bias: {} };
  assertEquals(beamSearchOf({ use_beam_search: true, n: 2, ...neutral })?.width, 2);
});

Deno.test("answer() hands a search to the engine, and its answers on in the engine's order", async () => {
  const server = testServer();
  server.engine.script = (index) => bytesOf(["best", "next"][index % 2]!);
  const search = { n: 2, use_beam_search: true, length_penalty: 0.5 };
  const chat = await (await server.post("/v1/chat/completions", { ...CHAT, ...search })).json();
  assertEquals(server.engine.requests.at(-1)!.beamSearch, {
    width: 2,
    lengthPenalty: 0.5,
    earlyStopping: true,
  });
  const contents = chat.choices.map(({ message }: { message: { content: string } }) =>
    message.content
  );
  assertEquals(contents, ["best", "next"]);
  assertEquals(chat.usage.completion_tokens, 10);

  const body = { prompt: ["a", "b"], ...search };
  const texts = await (await server.post("/v1/completions", body)).json();
  assertEquals(texts.choices.map(({ text }: { text: string }) => text), [
    "best",
    "next",
    "best",
    "next",
  ]);
  await server.post("/v1/completions", { prompt: "a" });
  assertEquals(server.engine.requests.at(-1)!.beamSearch, undefined);
});

Deno.test("answer() streams a search as it does draws, and refuses it before the first byte", async () => {
  const server = testServer();
  const body = { ...CHAT, stream: true, use_beam_search: true, n: 2 };
  const events = await readEvents(await server.post("/v1/chat/completions", body));
  assertEquals(events.at(-1), "[DONE]");
  const bad = await server.post("/v1/chat/completions", { ...body, n: 12 });
  assertEquals([bad.status, (await bad.json()).error.param], [400, "n"]);
  for (const fields of [{ length_penalty: 11 }, { early_stopping: "never" }]) {
    const refused = await server.post("/v1/chat/completions", { ...body, ...fields });
    assertEquals([refused.status, (await refused.json()).error.param], [
      400,
      Object.keys(fields)[0],
    ]);
  }
});

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { type ServerProcess, sharedServer } from "../support/server_process.ts";

const PROMPTS = goldenPrompts();
const BLOCK = 16;

interface Answer {
  readonly tokens: number[];
  readonly cached: number;
  readonly id: string;
  /** Why it found no more, where `explain` asks for that. */
  readonly cause: string | null | undefined;
}

async function complete(
  server: ServerProcess,
  prompt: readonly number[],
  fields: Record<string, unknown> = {},
): Promise<Answer> {
  const body = { prompt, max_tokens: 24, temperature: 0, ignore_eos: true, return_token_ids: true };
  const response = await server.post("/v1/completions", { ...body, ...fields });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return {
    tokens: answer.choices[0].token_ids,
    cached: answer.usage.prompt_tokens_details.cached_tokens,
    id: answer.id,
    cause: answer.quire?.prompts[0].cause,
  };
}

const roomy = sharedServer();
const small = sharedServer(["--num-gpu-blocks-override", "64"]);
const uncached = sharedServer(["--no-enable-prefix-caching"]);

/** Runs `work` on a server of which nothing is cached, and checks what it leaves behind. */
async function onFresh(
  shared: () => Promise<ServerProcess>,
  work: (server: ServerProcess) => Promise<void>,
) {
  const server = await shared();
  assertEquals((await server.fetch("/reset_prefix_cache", { method: "POST" })).status, 200);
  assertEquals(await server.metric('quire:kv_blocks{state="cached"'), 0);
  await work(server);
  await server.idle();
  assertEquals((await server.fetch("/admin/kv/check")).status, 200);
}

function evictedBlocks(server: ServerProcess): Promise<number> {
  return server.metric("quire:prefix_cache_evicted_blocks_total");
}

function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: run });
}

e2e(
  "answers are the same with the cache cold, warm, under salts, reset, evicting and off",
  async () => {
    const expected = PROMPTS.map(({ greedy_ids }) => greedy_ids.slice(0, 24));
    const ask = (server: ServerProcess, fields = {}) =>
      Promise.all(PROMPTS.map(({ prompt_ids }) => complete(server, prompt_ids, fields)));
    const check = (answers: Answer[]) =>
      assertEquals(answers.map(({ tokens }) => tokens), expected);
    /** What a second request of the same prompt finds: whole blocks, and never the last token. */
    const findable = PROMPTS.map(({ prompt_ids }) =>
      Math.floor((prompt_ids.length - 1) / BLOCK) * BLOCK
    );
    await onFresh(roomy, async (server) => {
      check(await ask(server));
      const warm = await ask(server);
      check(warm);
      assertEquals(warm.map(({ cached }) => cached), findable);
      const salted = await ask(server, { cache_salt: "other" });
      check(salted);
      assertEquals(salted[0]!.cached + salted.at(-1)!.cached, 0);
      const explain = { explain: true };
      const last = PROMPTS.at(-1)!.prompt_ids;
      const found = await complete(server, last, explain);
      const other = await complete(server, last, { ...explain, cache_salt: "third" });
      assertEquals([found.cause, other.cause], [null, "cache_scope"]);
      const reset = await server.fetch("/reset_prefix_cache", { method: "POST" });
      assertEquals(reset.status, 200);
      const after = await complete(server, last, explain);
      assertEquals([after.cached, after.cause], [0, "cache_reset"]);
    });
    await onFresh(small, async (server) => {
      const before = await evictedBlocks(server);
      for (let round = 0; round < 2; round++) check(await ask(server));
      assert(await evictedBlocks(server) > before);
    });
    await onFresh(uncached, async (server) => {
      for (let round = 0; round < 2; round++) {
        const answers = await ask(server);
        check(answers);
        assert(answers.every(({ cached }) => cached === 0));
      }
    });
  },
);

e2e("samples of one prompt share it, and a conversation finds its earlier turns", async () => {
  await onFresh(roomy, async (server) => {
    const { prompt_ids } = PROMPTS.find(({ prompt_ids }) => prompt_ids.length > 300)!;
    const body = { prompt: prompt_ids, n: 8, max_tokens: 12, temperature: 1, seed: 5 };
    const several = await (await server.post("/v1/completions", body)).json();
    assertEquals(several.choices.length, 8);
    assert(await server.metric('quire:kv_blocks{state="cached"') >= prompt_ids.length / BLOCK - 1);
    const one = { ...body, n: 1, seed: 8 };
    const single = await (await server.post("/v1/completions", one)).json();
    // The fourth of eight samples draws with seed 5 + 3.
    assertEquals(single.choices[0].text, several.choices[3].text);

    const messages = [{ role: "user", content: "My name is Kira and my dog is called Pip." }];
    const first = await (await server.post("/v1/chat/completions", { messages })).json();
    messages.push(first.choices[0].message, { role: "user", content: "What is my dog called?" });
    const second = await (await server.post("/v1/chat/completions", { messages })).json();
    assertEquals(second.choices[0].message.content, "Your dog is called Pip.");
    const { prompt_tokens, completion_tokens } = first.usage;
    const { cached_tokens } = second.usage.prompt_tokens_details;
    assert(
      cached_tokens >= Math.floor((prompt_tokens + completion_tokens - 1) / BLOCK) * BLOCK - BLOCK,
    );
    assert(cached_tokens > 0);
  });
});

e2e("the log says why, and folding the events gives what is cached", async () => {
  await onFresh(small, async (server) => {
    const { prompt_ids } = PROMPTS.find(({ prompt_ids }) => prompt_ids.length > 300)!;
    for (const { prompt_ids } of PROMPTS) await complete(server, prompt_ids);
    await complete(server, prompt_ids);
    const { id } = await complete(server, prompt_ids);
    const log = await (await server.fetch(`/admin/kv/log?request_id=${id}`)).json();
    const types: string[] = log.entries.map(({ type }: { type: string }) => type);
    const firsts = [...new Set(types)].filter((type) => type !== "evict");
    const ends = ["first_token", "finish", "free"];
    assertEquals(firsts, ["queue", "hit", "allocate", "admit", "chunk", ...ends]);
    assertEquals(types.at(-1), "free");
    assertStringIncludes(log.entries[0].text, `queues with ${prompt_ids.length} tokens`);

    const cached = new Set<string>();
    const response = await server.fetch("/kv/events?from=0");
    let text = "";
    const wanted = await server.metric('quire:kv_blocks{state="cached"');
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (!text.endsWith("\n\n")) continue;
      cached.clear();
      for (const line of text.split("\n\n").filter((line) => line.startsWith("data: "))) {
        const event = JSON.parse(line.slice(6));
        if (event.type === "stored") event.keys.forEach((key: string) => cached.add(key));
        if (event.type === "removed") event.keys.forEach((key: string) => cached.delete(key));
      }
      if (cached.size === wanted) break;
    }
    assertEquals(cached.size, wanted);
  });
});

e2e("a pinned prefix outlives what evicts the others", async () => {
  await onFresh(small, async (server) => {
    const { prompt_ids } = PROMPTS.find(({ prompt_ids }) => prompt_ids.length > 300)!;
    const prefix = prompt_ids.slice(0, 160);
    await complete(server, prefix);
    const pin = async (name: string, prompt: readonly number[]) =>
      await (await server.post("/admin/kv/pins", { name, prompt })).json();
    assertEquals((await pin("kept", prefix)).n_tokens, 160);
    assertEquals(await server.metric("quire:pinned_blocks"), 10);
    const before = await evictedBlocks(server);
    for (const other of PROMPTS) {
      if (other.prompt_ids.length < 700) {
        await complete(
          server,
          other.prompt_ids.map((id) => id ^ 1),
        );
      }
    }
    assert(await evictedBlocks(server) > before);
    assertEquals((await complete(server, prefix)).cached, 144);
    const removed = await server.fetch("/admin/kv/pins/kept", { method: "DELETE" });
    assertEquals(removed.status, 200);
    await removed.body?.cancel();
    assertEquals(await server.metric("quire:pinned_blocks"), 0);
  });
});

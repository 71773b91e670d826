import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { TokenLogprob } from "../../src/core/batch.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import { DEMO_DIR, goldenPrompts } from "../support/demo_engine.ts";
import { ServerProcess } from "../support/server_process.ts";

const WIDTH = 3;
const MAX_TOKENS = 10;
const PATH = "/v1/completions";

async function post(server: ServerProcess, body: unknown) {
  const response = await server.post(PATH, body);
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** Ids by the text under which log-probabilities name them. */
function idsByText(): Map<string, number[]> {
  const tokenizer = loadTokenizer(DEMO_DIR);
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  return Map.groupBy(ids, (id) => tokenizer.tokenText(id));
}

/** The likeliest next tokens, from a request for one token. */
async function nextTokens(
  server: ServerProcess,
  prompt: readonly number[],
  names: Map<string, number[]>,
): Promise<TokenLogprob[]> {
  const body = { prompt, max_tokens: 1, temperature: 0, logprobs: 2 * WIDTH, ignore_eos: true };
  const { choices } = await post(server, body);
  const top: Record<string, number> = choices[0].logprobs.top_logprobs[0];
  return Object.entries(top).map(([text, logprob]) => {
    const [token, ...others] = names.get(text) ?? [];
    assert(token !== undefined && others.length === 0, `${others.length} others are "${text}"`);
    return { token, logprob };
  }).sort((a, b) => b.logprob - a.logprob);
}

/** Beam search by the book, without ends: one request per beam and token. */
async function searchByRequests(server: ServerProcess, prompt: readonly number[]) {
  const names = idsByText();
  let beams = [{ ids: [] as number[], sum: 0 }];
  for (let step = 0; step < MAX_TOKENS; step++) {
    const candidates = await Promise.all(beams.map(async ({ ids, sum }) => {
      const next = await nextTokens(server, [...prompt, ...ids], names);
      return next.map(({ token, logprob }) => ({ ids: [...ids, token], sum: sum + logprob }));
    }));
    beams = candidates.flat().sort((a, b) => b.sum - a.sum).slice(0, WIDTH);
  }
  return beams;
}

Deno.test({
  name:
    "a search over HTTP finds what a search made of one-token requests finds, and leaves nothing",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const server = await ServerProcess.start(["--kv-cache-dtype", "f32"]);
    try {
      const { prompt_ids } = goldenPrompts().find(({ prompt_ids }) => prompt_ids.length > 40)!;
      const body = {
        prompt: prompt_ids,
        n: WIDTH,
        use_beam_search: true,
        max_tokens: MAX_TOKENS,
        ignore_eos: true,
        return_token_ids: true,
        logprobs: 0,
        explain: true,
      };
      const answer = await post(server, body);
      const expected = await searchByRequests(server, prompt_ids);
      const { choices, usage, quire } = answer;
      assertEquals(
        choices.map((choice: { token_ids: number[] }) => choice.token_ids),
        expected.map(({ ids }) => ids),
      );
      choices.forEach((choice: { logprobs: { token_logprobs: number[] } }, i: number) => {
        const sum = choice.logprobs.token_logprobs.reduce((total, one) => total + one, 0);
        assertAlmostEquals(sum, expected[i]!.sum, 1e-3);
      });
      assertEquals(usage.completion_tokens, WIDTH * MAX_TOKENS);
      const types = new Set(quire.decisions.map(({ type }: { type: string }) => type));
      assert(["queue", "admit", "copy", "free"].every((type) => types.has(type)));

      const greedy = await post(server, { ...body, n: 1, use_beam_search: false, temperature: 0 });
      const single = await post(server, { ...body, n: 1 });
      assertEquals(single.choices[0].token_ids, greedy.choices[0].token_ids);

      const streamed = await (await server.post(PATH, { ...body, stream: true })).text();
      const texts = ["", "", ""];
      for (const line of streamed.split("\n\n").filter((line) => line.startsWith("data: {"))) {
        const [choice] = JSON.parse(line.slice(6)).choices;
        if (choice !== undefined) texts[choice.index] += choice.text;
      }
      assertEquals(texts, choices.map(({ text }: { text: string }) => text));

      const leaving = new AbortController();
      const gone = server.post(PATH, { ...body, n: 10, max_tokens: 400 }, {
        signal: leaving.signal,
      });
      gone.catch(() => {});
      while (await server.metric("vllm:num_requests_running") < 10) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      leaving.abort();
      await server.idle();
      assertEquals((await server.fetch("/admin/kv/check")).status, 200);
    } finally {
      await server.stop();
    }
  },
});

import { assert, assertEquals } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { ServerProcess } from "../support/server_process.ts";

const PROMPTS = goldenPrompts().slice(0, 5);
/** The bundled model's end of sequence, and another token it does not expect anywhere. */
const [EOS, OTHER] = [2, 77];

type Fields = Readonly<Record<string, unknown>>;

async function complete(
  server: ServerProcess,
  prompt: readonly number[],
  fields: Fields,
): Promise<{ token_ids: number[]; finish_reason: string }[]> {
  const body = { prompt, max_tokens: 24, temperature: 0, ignore_eos: true, return_token_ids: true };
  const response = await server.post("/v1/completions", { ...body, ...fields });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return answer.choices;
}

async function withServer(args: readonly string[], run: (server: ServerProcess) => Promise<void>) {
  const server = await ServerProcess.start(args);
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}

function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: run });
}

e2e(
  "logit_bias forces, allowed_token_ids restricts, penalties tell, min_tokens waits",
  async () => {
    await withServer([], async (server) => {
      const { prompt_ids, greedy_ids } = PROMPTS[0]!;
      const ask = async (fields: Fields) => (await complete(server, prompt_ids, fields))[0]!;
      assertEquals((await ask({})).token_ids, greedy_ids.slice(0, 24));
      const forced = await ask({ logit_bias: { [OTHER]: 100 } });
      assertEquals(forced.token_ids, new Array(24).fill(OTHER));
      const allowed = [34, OTHER, 600];
      const restricted = await complete(server, prompt_ids, {
        ...{ allowed_token_ids: allowed, temperature: 1.5, n: 3, seed: 1 },
      });
      assert(restricted.every(({ token_ids }) => token_ids.every((id) => allowed.includes(id))));

      // One of two tokens is drawn for ever, or until each time costs it something.
      const two = { allowed_token_ids: [OTHER, 600], logit_bias: { [OTHER]: 40 } };
      assertEquals(new Set((await ask(two)).token_ids), new Set([OTHER]));
      const penalized = await ask({ ...two, logit_bias: {}, frequency_penalty: 2, max_tokens: 60 });
      assertEquals(new Set(penalized.token_ids), new Set([OTHER, 600]));

      const ends = { ignore_eos: false, logit_bias: { [EOS]: 100 } };
      const { token_ids, finish_reason } = await ask(ends);
      assertEquals([token_ids.length, finish_reason], [1, "stop"]);
      const held = await ask({ ...ends, min_tokens: 9 });
      assertEquals([held.token_ids.length, held.finish_reason], [10, "stop"]);
      assertEquals(held.token_ids.slice(0, 9).includes(EOS), false);
    });
  },
);

e2e("penalized answers are the same alone, in a batch, warm, and preempted", async () => {
  const asked: readonly Fields[] = [
    { presence_penalty: 1.2 },
    { frequency_penalty: 0.7, temperature: 0.8, seed: 3 },
    { repetition_penalty: 1.3 },
    { repeat_penalty: 1.2, temperature: 1, top_k: 40, top_p: 0.9, seed: 11 },
    { logit_bias: { 200: 3, 300: -100 }, presence_penalty: -0.5, n: 3, temperature: 0.6, seed: 5 },
  ];
  const ask = async (server: ServerProcess, i: number) =>
    (await complete(server, PROMPTS[i]!.prompt_ids, asked[i]!)).map(({ token_ids }) => token_ids);
  const together = (server: ServerProcess) => Promise.all(asked.map((_, i) => ask(server, i)));
  const expected: number[][][] = [];
  await withServer(["--no-enable-prefix-caching"], async (server) => {
    for (const i of asked.keys()) expected.push(await ask(server, i));
    assertEquals(await together(server), expected);
  });
  const longest = Math.max(...PROMPTS.map(({ prompt_ids }) => prompt_ids.length)) + 24;
  const numBlocks = Math.ceil(longest / 16) + 2;
  // Admissions that leave nothing over for answers to grow, so that some are preempted.
  const flags = ["--schedule-conservativeness", "0"];
  await withServer(["--num-gpu-blocks-override", String(numBlocks), ...flags], async (server) => {
    for (let round = 0; round < 2; round++) assertEquals(await together(server), expected);
    assert(await server.metric("vllm:num_preemptions") > 0, "nothing was preempted");
  });
});

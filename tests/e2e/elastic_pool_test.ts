import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { ServerProcess } from "../support/server_process.ts";

/** Prompts of which four are in flight at a time, and their known greedy answers. */
const PROMPTS = goldenPrompts().filter(({ prompt_ids }) => prompt_ids.length < 400);
const NUM_TOKENS = 64;

interface Size {
  readonly num_blocks: number;
  readonly memory_bytes: number;
}

function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: run });
}

async function withServer(args: readonly string[], run: (server: ServerProcess) => Promise<void>) {
  const server = await ServerProcess.start(args);
  try {
    await run(server);
    await server.idle();
    assertEquals((await server.fetch("/admin/kv/check")).status, 200);
  } finally {
    await server.stop();
  }
}

/** The greedy answer of one prompt. */
async function complete(server: ServerProcess, prompt: readonly number[]): Promise<number[]> {
  const body = { prompt, max_tokens: NUM_TOKENS, temperature: 0, ignore_eos: true };
  const response = await server.post("/v1/completions", { ...body, return_token_ids: true });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return answer.choices[0].token_ids;
}

async function resize(server: ServerProcess, size: Record<string, unknown>) {
  const response = await server.post("/admin/kv/resize", size);
  return { status: response.status, body: await response.json() };
}

/** Blocks in every state, as the metrics have it. */
async function poolSize(server: ServerProcess): Promise<number> {
  const states = ["in_use", "cached", "free"].map((state) =>
    server.metric(`quire:kv_blocks{state="${state}"`)
  );
  return (await Promise.all(states)).reduce((sum, count) => sum + count, 0);
}

e2e("the pool is resized under requests in flight, whose answers stay what they are", async () => {
  await withServer(
    ["--num-gpu-blocks-override", "160", "--max-model-len", "512"],
    async (server) => {
      let isDone = false;
      const ask = () => {
        isDone = false;
        const answers = PROMPTS.map(({ prompt_ids }) => complete(server, prompt_ids));
        return Promise.all(answers).finally(() => isDone = true);
      };
      let answers = ask();
      let rounds = 1;
      let numMoved = 0;
      let numResized = 0;
      for (let i = 0;; i++) {
        if (isDone) {
          assertEquals(await answers, PROMPTS.map(({ greedy_ids }) => greedy_ids));
          // How many resizes meet requests in flight is up to the machine: until enough have.
          if (numResized > 5 && numMoved > 0 || rounds++ === 10) break;
          answers = ask();
        }
        // Sizes from the least that one sequence needs; some are refused while more is in use.
        const num_blocks = [400, 32, 90, 60, 200, 45][i % 6]!;
        const { status, body } = await resize(server, { num_blocks });
        if (status === 200) {
          assertEquals(body.after.num_blocks, num_blocks);
          numResized++;
          numMoved += body.moved_blocks;
        } else {
          assertEquals([status, body.error.code], [409, "kv_pool_in_use"], JSON.stringify(body));
          assertStringIncludes(body.error.message, `${num_blocks} blocks`);
        }
      }
      assert(numResized > 5 && numMoved > 0, `${numMoved} blocks moved in ${numResized} resizes`);
      assertEquals(await server.metric("quire:kv_pool_resizes_total"), numResized);
    },
  );
});

e2e("a resize is shown wherever the pool's size is, and refused with the numbers", async () => {
  await withServer(["--num-gpu-blocks-override", "200"], async (server) => {
    const { body } = await resize(server, { num_blocks: 300 });
    const { before, after } = body as { before: Size; after: Size };
    assertEquals([before.num_blocks, after.num_blocks], [200, 300]);
    assertEquals(after.memory_bytes / 300, before.memory_bytes / 200);
    assertEquals(await poolSize(server), 300);
    assertEquals(
      await server.metric('vllm:cache_config_info{block_size="16",num_gpu_blocks="300"'),
      1,
    );
    const plan = await (await server.fetch("/admin/kv/plan")).json();
    assertEquals(plan.memory_bytes, after.memory_bytes);
    const log = await (await server.fetch("/admin/kv/log")).json();
    assertStringIncludes(
      log.entries.at(-1).text,
      "an operator has the pool resized from 200 to 300",
    );

    const small = await resize(server, { memory_bytes: "1MiB" });
    assertEquals([small.status, small.body.error.code], [400, "kv_pool_too_small"]);
    assertStringIncludes(small.body.error.message, "at least 128, got 42");
    const huge = await resize(server, { num_blocks: 2 ** 31 - 1 });
    assertEquals([huge.status, huge.body.error.code], [409, "out_of_device_memory"]);
    assertEquals(await poolSize(server), 300);
    const [{ prompt_ids, greedy_ids }] = PROMPTS as [typeof PROMPTS[0]];
    assertEquals(await complete(server, prompt_ids), greedy_ids);
  });
});

e2e("without a size the pool grows under load, and no sequence is preempted for it", async () => {
  // 24,576 bytes per block: 32 sequences of 64 tokens are 128 blocks at the start.
  const limit = ["--max-model-len", "64", "--max-kv-cache-memory-bytes", String(600 * 24_576)];
  await withServer(limit, async (server) => {
    assertStringIncludes(server.output, "128 blocks of 16");
    assertStringIncludes(server.output, "grows under load up to 14.1 MiB");
    const prompts = Array.from({ length: 60 }, (_, i) => [i, i + 1, i + 2, i + 3]);
    const body = { prompt: prompts, max_tokens: 58, temperature: 0, ignore_eos: true };
    const response = await server.post("/v1/completions", { ...body, explain: true });
    const answer = await response.json();
    assertEquals([response.status, answer.choices.length], [200, 60]);
    assertEquals(await server.metric("vllm:num_preemptions_total"), 0);
    assertEquals(await server.metric("quire:kv_pool_growths_total"), 1);
    assertEquals(await poolSize(server), 256);
    const lines: string[] = answer.quire.decisions.map(({ text }: { text: string }) => text);
    assert(lines.some((line) => line.includes("has the pool resized from 128 to 256 blocks")));
  });
});

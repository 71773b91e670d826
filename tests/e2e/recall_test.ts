import { assert, assertEquals } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { ServerProcess } from "../support/server_process.ts";

/** Exact match of whole greedy answers as `models/demo/README.md` states it, percent. */
const STATED: Readonly<Record<string, number>> = {
  recall_100: 100,
  recall_400: 99,
  recall_800: 98,
  table_12: 96,
  table_40: 93,
};

interface Case {
  readonly messages: readonly { role: string; content: string }[];
  readonly answer: string;
}

function evaluation(): Readonly<Record<string, readonly Case[]>> {
  const file = new URL("../golden/demo_eval.json", import.meta.url);
  return JSON.parse(Deno.readTextFileSync(file)).tasks;
}

/** Runs `work` over all items, `width` at a time. */
async function inFlight<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]!);
    }
  }));
  return results;
}

Deno.test({
  name: "many requests in flight: golden ids, and every fact recalled as well as stated",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const server = await ServerProcess.start(["--kv-cache-memory-bytes", "24MiB"]);
    try {
      await checkGoldenIds(server);
      for (const [task, stated] of Object.entries(STATED)) await checkTask(server, task, stated);
      await server.idle();
    } finally {
      await server.stop();
    }
  },
});

async function checkGoldenIds(server: ServerProcess): Promise<void> {
  await inFlight(goldenPrompts(), 20, async ({ id, prompt_ids, greedy_ids }) => {
    const body = {
      prompt: prompt_ids,
      max_tokens: 64,
      temperature: 0,
      ignore_eos: true,
      return_token_ids: true,
    };
    const answer = await (await server.post("/v1/completions", body)).json();
    assertEquals(answer.choices[0].token_ids, greedy_ids, id);
  });
}

async function checkTask(server: ServerProcess, task: string, stated: number): Promise<void> {
  const cases = evaluation()[task]!;
  assertEquals(cases.length, 100);
  const right = await inFlight(cases, 32, async ({ messages, answer }) => {
    const body = { messages, temperature: 0, max_tokens: 128 };
    const response = await (await server.post("/v1/chat/completions", body)).json();
    return response.choices[0].message.content === answer;
  });
  const score = right.filter(Boolean).length;
  assert(Math.abs(score - stated) <= 1, `${task}: ${score} % instead of ${stated} %`);
}

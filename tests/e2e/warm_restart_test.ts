import { assert, assertEquals } from "@std/assert";
import { ServerProcess } from "../support/server_process.ts";

const NUM_SYSTEM_PROMPTS = 20;
const NUM_CHATS = 200;
/** Chats in flight at a time. */
const WIDTH = 8;

/** Whole sentences that differ from the first on. */
function systemPrompt(n: number): string {
  const who = `Number ${n} of the harbour's clerks, who knows the boats by name, answers.`;
  return `${who} ${"Be brief, be kind, and name the boat and its colour first. ".repeat(4)}`;
}

const CHATS = Array.from({ length: NUM_CHATS }, (_, i) => [
  { role: "system", content: systemPrompt(i % NUM_SYSTEM_PROMPTS) },
  { role: "user", content: `Which boat lies at berth ${i}, and since when has it been there?` },
]);

/** Sends all chats; the cached tokens that each reports. */
async function chat(server: ServerProcess): Promise<number[]> {
  const cachedTokens: number[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: WIDTH }, async () => {
    while (next < NUM_CHATS) {
      const i = next++;
      const body = { messages: CHATS[i], max_tokens: 4, temperature: 0 };
      const answer = await (await server.post("/v1/chat/completions", body)).json();
      cachedTokens[i] = answer.usage.prompt_tokens_details.cached_tokens;
    }
  }));
  return cachedTokens;
}

/** Looks every quarter of a second until `isSo`, for at most two minutes. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 480; i++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`still waiting: ${what}`);
}

/** When the store's files were last written to, in ms since the epoch. */
function lastWrite(path: string): number {
  return Math.max(
    ...["", "-wal"].map((suffix) => Deno.statSync(path + suffix).mtime?.getTime() ?? 0),
  );
}

/** Waits for longer than the server puts a write off, from now or from the last one on. */
function whenWritten(path: string): Promise<void> {
  const beganMs = Date.now();
  return until(
    "the store is written",
    () => Promise.resolve(Date.now() - Math.max(beganMs, lastWrite(path)) > 6000),
  );
}

/** Ends a server that a failed test has left behind. */
function kill(server: ServerProcess): void {
  try {
    server.signal("SIGKILL");
  } catch {
    // It has ended, as it should.
  }
}

Deno.test({
  name: "a server that was killed reports, after its reheat, the cached tokens it would have had",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const dir = await Deno.makeTempDir();
    const path = `${dir}/prefixes.sqlite3`;
    const args = ["--prefix-store", path, "--kv-cache-memory-bytes", "64MiB"];
    const servers: ServerProcess[] = [];
    const start = async () => {
      servers.push(await ServerProcess.start(args, {}, [`--allow-write=${dir}`]));
      return servers.at(-1)!;
    };
    try {
      const before = await start();
      await chat(before);
      const expected = await chat(before);
      assert(expected.every((numTokens) => numTokens > 0), `not cached at all: ${expected}`);
      await whenWritten(path);
      before.signal("SIGKILL");
      await before.exitCode();

      const after = await start();
      await until(
        "the reheat ends",
        async () =>
          await after.metric('quire:reheat_prefixes{state="left"') === 0 &&
          await after.metric('quire:reheat_prefixes{state="done"') > 0,
      );
      assertEquals(await after.metric("vllm:prompt_tokens_total"), 0);
      assertEquals(await chat(after), expected);
      await after.stop();
    } finally {
      for (const server of servers) kill(server);
      await Deno.remove(dir, { recursive: true });
    }
  },
});

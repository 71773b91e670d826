import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { benchCommand } from "../../src/commands/bench_command.ts";
import { parseBenchConfig } from "../../src/core/bench_config.ts";
import { StartupError } from "../../src/core/errors.ts";

/** A server that counts two tokens per word and five of a template, and answers three tokens. */
function countingServer() {
  const prompts: string[] = [];
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      if (request.method === "GET") return Response.json({ data: [{ id: "counter" }] });
      const { messages } = await request.json();
      const prompt = messages.map(({ content }: { content: string }) => content).join(" ");
      prompts.push(prompt);
      const usage = {
        prompt_tokens: 5 + 2 * prompt.split(" ").length,
        completion_tokens: 3,
        prompt_tokens_details: { cached_tokens: 8 },
      };
      const events = [
        ...["a", "b", "c"].map((content) => ({ choices: [{ delta: { content } }] })),
        { choices: [], usage },
      ];
      return new Response(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
    },
  );
  return { server, prompts, url: `127.0.0.1:${server.addr.port}` };
}

async function bench(url: string, ...args: string[]): Promise<string> {
  return await benchCommand(parseBenchConfig([url, "--num-prompts", "6", ...args], {})!);
}

Deno.test("benchCommand() sends prompts of the length asked for, in the server's own tokens", async () => {
  const { server, prompts, url } = countingServer();
  const args = ["--input-len", "45", "--output-len", "3", "--goodput", "ttft:60000", "--json"];
  const report = JSON.parse(await bench(url, ...args));
  // Two that measure, one that warms up, six that count.
  assertEquals(prompts.length, 9);
  assertEquals(prompts.slice(3).map((prompt) => prompt.split(" ").length), Array(6).fill(20));
  const { completed, failed, total_input_tokens, total_output_tokens, cached_share } = report;
  assertEquals([completed, failed, total_input_tokens, total_output_tokens], [6, 0, 270, 18]);
  assertEquals(cached_share, 48 / 270);
  assertEquals(report.request_goodput, report.request_throughput);
  assert(Math.abs(report.request_throughput * report.duration - 6) < 1e-9);
  for (const figure of ["ttft", "tpot", "itl", "e2el"]) {
    for (const name of ["mean", "median", "std", "p50", "p90", "p99"]) {
      assert(Number.isFinite(report[`${name}_${figure}_ms`]), `${name}_${figure}_ms`);
    }
  }
  await server.shutdown();
});

Deno.test("benchCommand() shows conversations with the time to the first token by turn", async () => {
  const { server, url } = countingServer();
  const text = await bench(url, "--workload", "turns", "--turns", "2", "--num-prompts", "2");
  assertStringIncludes(text, "Successful requests         4\n");
  assertStringIncludes(text, "2 conversations of 2 turns of 256 + 64 tokens, all at once");
  assert(/by turn \(ms\) {2}1: [\d.]+ {2}2: [\d.]+/.test(text), text);
  await server.shutdown();
});

Deno.test("benchCommand() replays a workload trace, and names what is wrong with one", async () => {
  const { server, prompts, url } = countingServer();
  const file = await Deno.makeTempFile();
  const line = '{"timestamp": 5, "input_length": 1024, "output_length": 9, "hash_ids": [1, 2]}';
  await Deno.writeTextFile(file, `${line}\n${line.replace("2]", "3]")}\n`);
  const text = await bench(url, "--trace", file, "--trace-scale", "8", "--warmups", "0");
  assertStringIncludes(text, "2 requests of ");
  const [a, b] = prompts.slice(2);
  assertEquals(a!.split(" ").slice(0, 32), b!.split(" ").slice(0, 32));
  assert(a !== b);
  await Deno.writeTextFile(file, "{}");
  const { message } = await assertRejects(() => bench(url, "--trace", file), StartupError);
  assertStringIncludes(message, `${file}:1: timestamp must be a number`);
  await Deno.remove(file);
  const missing = await assertRejects(() => bench(url, "--trace", file), StartupError);
  assertStringIncludes(missing.message, "cannot be read");
  await server.shutdown();
});

Deno.test("benchCommand() says in one sentence that a server refuses, or is not there", async () => {
  const refusing = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) =>
      request.method === "GET"
        ? Response.json({ data: [{ id: "m" }] })
        : Response.json({ error: { message: "not today" } }, { status: 503 }),
  );
  const url = `127.0.0.1:${refusing.addr.port}`;
  const { message } = await assertRejects(() => bench(url), StartupError);
  assertStringIncludes(message, "answered 503: not today");
  await refusing.shutdown();
  const gone = await assertRejects(() => bench(url), StartupError);
  assertStringIncludes(gone.message, `Cannot reach http://${url}/v1/models`);
});

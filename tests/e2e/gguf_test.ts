import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { demoGguf } from "../support/gguf_checkpoint.ts";
import { runMain, ServerProcess } from "../support/server_process.ts";

const NUM_TOKENS = 24;

function e2e(name: string, run: (dir: string) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const dir = await Deno.makeTempDir();
      try {
        await run(dir);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

async function withServer(
  args: readonly string[],
  run: (server: ServerProcess) => Promise<void>,
): Promise<void> {
  const server = await ServerProcess.start(args);
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}

async function answerTo(server: ServerProcess, path: string, body: Record<string, unknown>) {
  const response = await server.post(path, { temperature: 0, ...body });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return answer;
}

e2e("the bundled model as a GGUF file of f16 gives its golden tokens", async (dir) => {
  const file = `${dir}/demo-F16.gguf`;
  await Deno.writeFile(file, demoGguf("F16"));
  await withServer([file], async (server) => {
    const { data } = await (await server.fetch("/v1/models")).json();
    assertEquals(data[0].id, "demo-F16");
    for (const { prompt, prompt_ids, greedy_ids } of goldenPrompts().slice(0, 4)) {
      const { choices: [choice], usage } = await answerTo(server, "/v1/completions", {
        ...{ prompt, max_tokens: NUM_TOKENS, ignore_eos: true, return_token_ids: true },
      });
      assertEquals(usage.prompt_tokens, prompt_ids.length, prompt);
      assertEquals(choice.token_ids, greedy_ids.slice(0, NUM_TOKENS), prompt);
    }
    const messages = [{ role: "user", content: "Who are you?" }];
    const { choices: [choice] } = await answerTo(server, "/v1/chat/completions", { messages });
    assertEquals([choice.message.content, choice.finish_reason], [
      "I am the Quire demo model, a very small language model. I can tell short stories, " +
      "remember what you tell me, count, spell and copy.",
      "stop",
    ]);
    assert(!/matrices (become|are kept)/.test(server.output), server.output);
  });
});

e2e("a quantized GGUF file says what its blocks become, in a directory of its own", async (dir) => {
  await Deno.writeFile(`${dir}/demo-Q4_0.gguf`, demoGguf("Q4_0"));
  await withServer(["--model", dir], async (server) => {
    assertStringIncludes(
      server.output,
      "... Q4_0: 43 matrices are kept in blocks as int4g32, 4.5 bits per weight\n",
    );
    const { choices: [choice] } = await answerTo(server, "/v1/completions", {
      ...{ prompt: "Once upon a time", max_tokens: 8 },
    });
    assert(choice.text.length > 8, choice.text);
  });
});

e2e("GGUF files that cannot be served are refused in a sentence", async (dir) => {
  const serve = async (...args: string[]) => {
    const { code, stderr } = await runMain(["serve", "--device", "cpu", "--port", "0", ...args]);
    assertEquals(code, 1, stderr);
    assert(!/\n\s+at /.test(stderr), `a stack trace: ${stderr}`);
    return stderr;
  };
  const file = `${dir}/demo.gguf`;
  const bytes = demoGguf("F16");
  await Deno.writeFile(file, bytes.subarray(0, bytes.length - 100));
  assertStringIncludes(await serve(file), "demo.gguf: tensor");
  await Deno.writeTextFile(`${dir}/other.gguf`, "no such thing");
  assertStringIncludes(await serve(`${dir}/other.gguf`), "other.gguf is not a GGUF file");
  assertStringIncludes(await serve(dir), "has 2 GGUF files: name one of demo.gguf, other.gguf");
});

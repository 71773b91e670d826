import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

/** The child's pipes outlive the test that made them. */
const CHILD = { sanitizeOps: false, sanitizeResources: false };

/** One step of the reference device computes all of it, which takes it far longer than a second. */
const LONG = { prompt: " fox".repeat(1900), max_tokens: 4 };
const IMPATIENT = [
  ...["--device", "cpu", "--max-num-batched-tokens", "2048", "--engine-step-timeout", "1"],
];

const FORMS = ["run", "serve"] as const;

/** The demo model with weights that never come: whoever reads them waits. */
async function endlessModel(): Promise<string> {
  const dir = await Deno.makeTempDir();
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${DEMO_DIR}/${name}`, `${dir}/${name}`);
  }
  const { success } = await new Deno.Command("mkfifo", { args: [`${dir}/model.safetensors`] })
    .output();
  assert(success);
  return dir;
}

async function assertUnavailable(response: Response): Promise<void> {
  assertEquals([response.status, (await response.json()).error.code], [503, "engine_unavailable"]);
}

async function untilReady(server: ServerProcess): Promise<void> {
  while (true) {
    const response = await server.fetch("/health");
    const { state } = await response.json();
    assertEquals(response.status, state === "ready" ? 200 : 503);
    if (state === "ready") return;
    assertEquals(state, "restarting");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

Deno.test({
  name: "a step that always takes too long ends its request, and another engine takes over",
  ...CHILD,
  async fn() {
    using server = await ServerProcess.start(IMPATIENT);
    const refused = await server.post("/v1/completions", LONG);
    assertEquals([refused.status, (await refused.json()).error.code], [500, "engine_lost"]);
    await untilReady(server);
    const short = { prompt: "Once upon a time", max_tokens: 2 };
    const answer = await (await server.post("/v1/completions", short)).json();
    assertStringIncludes(answer.choices[0].text, " there");
    assertStringIncludes(server.output, "requests_kept=1 requests_failed=0 restart_in_seconds=2");
    assertStringIncludes(server.output, "engine runs again");
    await server.stop();
  },
});

for (const form of FORMS) {
  Deno.test({
    name: `deno ${form}: an engine that fails too often ends the process with code 70`,
    ...CHILD,
    async fn() {
      const args = [...IMPATIENT, "--max-engine-failures", "1"];
      using server = form === "run"
        ? await ServerProcess.start(args)
        : await ServerProcess.startByDenoServe(freePort(), args);
      await assertUnavailable(await server.post("/v1/completions", LONG));
      assertEquals(await server.exitCode(), 70);
      assertStringIncludes(server.output, "has not completed a step for 1 s");
    },
  });

  Deno.test({
    name: `deno ${form}: a signal before the engine is ready ends the process quietly`,
    ignore: Deno.build.os === "windows",
    ...CHILD,
    async fn() {
      const dir = await endlessModel();
      const args = ["--device", "cpu", "--model", dir];
      // At once: each waits for a thread that reads a file without an end.
      await Promise.all((["SIGTERM", "SIGINT"] as const).map(async (signal) => {
        using server = await ServerProcess.startUnready(form, freePort(), args);
        const health = await server.fetch("/health");
        assertEquals([health.status, (await health.json()).state], [503, "starting"]);
        server.signal(signal);
        assertEquals(await server.exitCode(), 0, signal);
        assert(!/error|\n\s+at /i.test(server.output), server.output);
      }));
      await Deno.remove(dir, { recursive: true });
    },
  });

  Deno.test({
    name: `deno ${form}: an engine that cannot be started is one sentence and code 70`,
    ignore: Deno.build.os === "windows",
    ...CHILD,
    async fn() {
      const dir = await endlessModel();
      const args = ["--device", "cpu", "--model", dir, "--engine-start-timeout", "1"];
      using server = await ServerProcess.startUnready(form, freePort(), args);
      assertEquals(await server.exitCode(), 70);
      assertStringIncludes(server.output, "error: The engine could not be started");
      assert(!/\n\s+at /.test(server.output), server.output);
      await Deno.remove(dir, { recursive: true });
    },
  });
}

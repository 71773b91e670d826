import { assert, assertEquals } from "@std/assert";
import { IS_QUICK } from "../support/runs.ts";
import { ServerProcess } from "../support/server_process.ts";

const FOLDER = new URL("../clients/", import.meta.url).pathname;
/** Scenarios that are cheap and differ between runtimes, which is in how bytes come. */
const TRANSPORT = "whole and streamed";
const UNSANITIZED = { sanitizeOps: false, sanitizeResources: false };

interface Report {
  readonly name: string;
  readonly numChecked: number;
  readonly error?: string;
}

/** Runs a program with the scenarios; one line of JSON comes for each. */
async function report(program: string, args: readonly string[]): Promise<Report[]> {
  const pipes = { stdout: "piped", stderr: "piped" } as const;
  const command = new Deno.Command(program, { args: [...args], cwd: FOLDER, ...pipes });
  const { stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  const lines = decoder.decode(stdout).split("\n").filter((line) => line.startsWith("{"));
  assert(lines.length > 0, decoder.decode(stderr));
  return lines.map((line) => JSON.parse(line));
}

/** All scenarios have passed, and every answer was held to its format. */
function check(reports: readonly Report[], least: { scenarios: number; answers: number }): void {
  assertEquals(reports.filter(({ error }) => error !== undefined), []);
  assert(reports.length >= least.scenarios, `${reports.length} scenarios`);
  const numChecked = reports.reduce((sum, one) => sum + one.numChecked, 0);
  assert(numChecked >= least.answers, `${numChecked} answers`);
}

function missingNode(): string | undefined {
  if (IS_QUICK) return "a quick run leaves Node out";
  try {
    const pipes = { stdout: "null", stderr: "null" } as const;
    const { success } = new Deno.Command("node", { args: ["--version"], ...pipes }).outputSync();
    return success ? undefined : "node does not start";
  } catch {
    return "there is no node on this machine";
  }
}

/** Writes the scenarios with the clients as one file. */
async function makeBundle(file: string): Promise<void> {
  const args = ["bundle", "-q", "-o", file, "main.ts"];
  const pipes = { stdout: "null", stderr: "piped" } as const;
  const command = new Deno.Command(Deno.execPath(), { args, cwd: FOLDER, ...pipes });
  const { success, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
}

Deno.test({
  name:
    "official clients work by URL alone, in Deno and in Node, and every answer is in its format",
  ...UNSANITIZED,
  async fn(t) {
    const server = await ServerProcess.start(["--log-level", "warn"]);
    const args = [server.url, "quire-demo"];
    await t.step({
      name: "in Deno: openai, @anthropic-ai/sdk, ai, @langchain/openai, ollama",
      ...UNSANITIZED,
      async fn() {
        const reports = await report(Deno.execPath(), [
          "run",
          "-A",
          "--no-check",
          "main.ts",
          ...args,
        ]);
        check(reports, { scenarios: 33, answers: 60 });
        await server.idle();
      },
    });
    const reason = missingNode();
    await t.step({
      name: `in Node${reason === undefined ? "" : `: skipped, since ${reason}`}`,
      ignore: reason !== undefined,
      ...UNSANITIZED,
      async fn() {
        const bundle = await Deno.makeTempFile({ suffix: ".mjs" });
        try {
          await makeBundle(bundle);
          const reports = await report("node", [bundle, ...args, TRANSPORT]);
          check(reports, { scenarios: 8, answers: 20 });
        } finally {
          await Deno.remove(bundle);
        }
      },
    });
    await server.stop();
  },
});

import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);
const TINY = ["--quick", "--device", "cpu", "--shape", "tiny"];

/** How each bench is run quickly; the first device found, unless the model's shape is what counts. */
const QUICK: Readonly<Record<string, readonly string[]>> = {
  "cache_overhead.ts": ["--quick"],
  "deterministic.ts": TINY,
  "door.ts": ["--quick"],
  "encode_ahead.ts": TINY,
  "hybrid_pool.ts": [],
  "kernels.ts": TINY,
  "kv_memory.ts": ["--quick"],
  "kv_quality.ts": ["--quick", "int8"],
  "model.ts": ["--quick"],
  "model_shapes.ts": TINY,
  "schedule_commit.ts": ["--quick"],
  "tokenize_door.ts": ["--quick"],
  "weight_quality.ts": ["--quick", "int8g32"],
};

/** Commands that are no bench, or that a test of their own runs, or that need what is not here. */
const APART: Readonly<Record<string, string>> = {
  "gpu_host.ts": "runs others of these on a GPU host",
  "quick_benches.ts": "runs the benches of deno bench here",
  "readme_table.ts": "writes a page; readme_table_test.ts",
  "replay_steps.ts": "runs a trace again; tests/engine has its test",
  "trace_replay.ts": "needs a folder of traces, below",
};

/** Runs a script and returns the result on its last line. */
async function resultOf(file: string, args: readonly string[]): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", file, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(success, `${text}\n${new TextDecoder().decode(stderr)}`);
  return JSON.parse(text.trimEnd().split("\n").at(-1)!);
}

function benches(): string[] {
  return [...Deno.readDirSync(new URL("bench/", ROOT))].map(({ name }) => name).sort();
}

/** Whether a file is run, and not only imported. */
function isCommand(name: string): boolean {
  if (!name.endsWith(".ts") || name.endsWith("_bench.ts")) return false;
  const text = Deno.readTextFileSync(new URL(`bench/${name}`, ROOT));
  return /^(if \(import\.meta\.main\)|main\(\);|console\.log)/m.test(text);
}

Deno.test("every bench is run below", () => {
  const commands = benches().filter(isCommand);
  assertEquals(commands, [...Object.keys(QUICK), ...Object.keys(APART)].sort());
});

for (const [name, args] of Object.entries(QUICK)) {
  Deno.test(`bench/${name} works (${args.join(" ")})`, async () => {
    const result = await resultOf(`bench/${name}`, args);
    assert(typeof result === "object" && result !== null);
  });
}

for (const name of benches().filter((name) => name.endsWith("_bench.ts"))) {
  Deno.test(`bench/${name} works, each of its benches once`, async () => {
    const { names } = await resultOf("bench/quick_benches.ts", [`bench/${name}`]) as {
      names: string[];
    };
    assert(names.length > 0);
  });
}

Deno.test("bench/trace_replay.ts replays a trace", async () => {
  const folder = await Deno.makeTempDir();
  // Two requests that begin alike, and one that does not.
  const lines = [[1, 2, 3], [1, 2, 4], [5]].map((hash_ids) => JSON.stringify({ hash_ids }));
  await Deno.writeTextFile(`${folder}/conversation_trace.jsonl`, lines.join("\n"));
  const { rows } = await resultOf("bench/trace_replay.ts", [folder, "--quick"]) as {
    rows: { hitRate: number }[];
  };
  assertEquals(rows.map(({ hitRate }) => hitRate), [2 / 7, 2 / 7, 2 / 7]);
  await Deno.remove(folder, { recursive: true });
});

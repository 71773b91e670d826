import { assert, assertEquals } from "@std/assert";
import {
  DEMO_BENCHES,
  HOST_BENCHES,
  resultOf,
  SHAPE_BENCHES,
  testQuickly,
} from "../support/bench_process.ts";

const ROOT = new URL("../../", import.meta.url);

/** Commands that are no bench, or that a test of their own runs, or that need what is not here. */
const APART: Readonly<Record<string, string>> = {
  "gpu_host.ts": "runs others of these on a GPU host",
  "load_once.ts": "one load of loading.ts",
  "quick_benches.ts": "runs the benches of deno bench here",
  "readme_table.ts": "writes a page; readme_table_test.ts",
  "replay_steps.ts": "runs a step trace again; tests/engine has its test",
  "schedule_commit.ts": "scheduler_benches_test.ts",
  "trace_replay.ts": "needs a folder of workload traces, below",
};

function benches(): string[] {
  return [...Deno.readDirSync(new URL("bench/", ROOT))].map(({ name }) => name).sort();
}

/** Whether a file is run, and not only imported. */
function isCommand(name: string): boolean {
  if (!name.endsWith(".ts") || name.endsWith("_bench.ts")) return false;
  const text = Deno.readTextFileSync(new URL(`bench/${name}`, ROOT));
  return /^(if \(import\.meta\.main\)|main\(\);|console\.log)/m.test(text);
}

Deno.test("every bench is run by a test", () => {
  const commands = benches().filter(isCommand);
  const tested = [...HOST_BENCHES, ...DEMO_BENCHES, ...SHAPE_BENCHES].map(([file]) => file);
  assertEquals(commands, [...tested, ...Object.keys(APART)].sort());
});

testQuickly(HOST_BENCHES);

for (const name of benches().filter((name) => name.endsWith("_bench.ts"))) {
  Deno.test(`bench/${name} works, each of its benches once`, async () => {
    const { names } = await resultOf("bench/quick_benches.ts", [`bench/${name}`]) as {
      names: string[];
    };
    assert(names.length > 0);
  });
}

Deno.test("bench/trace_replay.ts replays a workload trace", async () => {
  const folder = await Deno.makeTempDir();
  // Two requests that begin alike, and one that does not.
  const lines = [[1, 2, 3], [1, 2, 4], [5]].map((hash_ids) => JSON.stringify({ hash_ids }));
  await Deno.writeTextFile(`${folder}/conversation_trace.jsonl`, lines.join("\n"));
  const { rows } = await resultOf("bench/trace_replay.ts", [folder, "--quick"]) as {
    rows: { hitRate: number }[];
  };
  // Without a limit, and by each policy.
  assertEquals(rows.map(({ hitRate }) => hitRate), new Array(6).fill(2 / 7));
  await Deno.remove(folder, { recursive: true });
});

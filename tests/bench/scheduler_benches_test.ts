import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

async function run(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args.slice(0, 1), "-A", "--no-check", ...args.slice(1)],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(success, `${text}${new TextDecoder().decode(stderr)}`);
  return text;
}

Deno.test("bench/schedule_commit.ts measures each number of sequences, by single steps and several", async () => {
  const text = await run("run", "bench/schedule_commit.ts", "--quick");
  const rows: { numSeqs: number; maxDecodeSteps: number; ms: number }[] = JSON.parse(
    text.trim().split("\n").at(-1)!,
  );
  assertEquals(
    rows.map(({ numSeqs, maxDecodeSteps }) => [numSeqs, maxDecodeSteps]),
    [1, 32, 256, 1024].flatMap((numSeqs) => [[numSeqs, 1], [numSeqs, 8]]),
  );
  assert(rows.every(({ ms }) => ms > 0), text);
});

Deno.test("bench/scheduler_bench.ts takes steps of as many splits as its packer is made for, and more", async () => {
  const text = await run("bench", "bench/scheduler_bench.ts", "--filter", "128 sequences");
  assertEquals(text.match(/^\| 128 sequences .*µs|^\| 128 sequences .*ms/gm)?.length, 2, text);
});

import { assert, assertEquals } from "@std/assert";
import { barChart } from "../../../bench/sim/bar_chart.ts";
import { maxLenOf, numRequestsOf } from "../../../bench/sim/load.ts";
import { percentiles } from "../../../bench/sim/summary.ts";
import { agents, chats } from "../../../bench/sim/synthetic_loads.ts";
import { azureLoad, mooncakeLoad } from "../../../bench/sim/trace_loads.ts";
import { resultOf } from "../../support/bench_process.ts";

interface Row {
  readonly comparison: string;
  readonly load: string;
  readonly variant: string;
  readonly numFinished: number;
  readonly numRefused: number;
  readonly hitRate: number;
}

Deno.test("deno task sim compares everything, and draws it (--quick)", async () => {
  const folder = await Deno.makeTempDir();
  const args = ["--quick", "--traces", folder, "--svg", folder];
  const { rows } = await resultOf("bench/sim/sim.ts", args) as { rows: Row[] };
  assert(!JSON.stringify(rows).includes("null"));
  assert(rows.every(({ numFinished, numRefused }) => numFinished > 0 && numRefused === 0));
  const names = new Set(rows.map(({ comparison }) => comparison));
  assertEquals([...names], ["allocators", "scheduling", "preemption", "eviction"]);
  for (const name of names) {
    const picture = await Deno.readTextFile(`${folder}/sim-${name}.svg`);
    for (const { variant, comparison } of rows) {
      if (comparison === name) assert(picture.includes(`>${variant}</text>`), variant);
    }
  }
  const agent = rows.find(({ load, variant }) =>
    load.startsWith("agent") && variant === "paged + cache"
  )!;
  assert(agent.hitRate > 0.7, `${agent.hitRate}`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("workload traces are read by their own definitions", () => {
  const cut = { maxRequests: 2, speed: 0.5 };
  const line = (timestamp: number, hash_ids: number[]) =>
    JSON.stringify({ timestamp, input_length: 600, output_length: 3, hash_ids });
  const lines = [line(0, [7, 8]), line(30, [7, 9]), line(40, [1, 2])];
  const { sessions } = mooncakeLoad(lines.join("\n"), "m", cut);
  const [a, b] = sessions.map(({ turns }) => turns[0]!);
  assertEquals([sessions.length, a!.gapMs, b!.gapMs, b!.outputLen], [2, 0, 60, 3]);
  assertEquals(a!.prompt().subarray(0, 512), b!.prompt().subarray(0, 512));
  assertEquals([a!.prompt().length, a!.prompt()[512] === b!.prompt()[512]], [600, false]);
  assert(a!.token(0) !== b!.token(0));

  const text = "TIMESTAMP,ContextTokens,GeneratedTokens\n" +
    "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n";
  const azure = azureLoad(text, "a", cut).sessions.map(({ turns }) => turns[0]!);
  assertEquals(azure.map(({ gapMs, promptLen, outputLen }) => [gapMs, promptLen, outputLen]), [
    [0, 4808, 10],
    [104, 3180, 8],
  ]);
});

Deno.test("a conversation's prompts go on where the one before ended, answer included", () => {
  for (const load of [chats, agents]) {
    const { sessions } = load({ count: 6, perSecond: 1, seed: 3 });
    for (const { turns } of sessions) {
      for (const [i, { prompt, promptLen }] of turns.entries()) {
        assertEquals(prompt().length, promptLen);
        const before = turns[i - 1];
        if (before === undefined) continue;
        const said = [...before.prompt(), before.token(0), before.token(before.outputLen - 1)];
        const next = prompt();
        assertEquals(Array.from(next.subarray(0, before.promptLen)), said.slice(0, -2));
        assertEquals(next[before.promptLen], said.at(-2));
        assertEquals(next[before.promptLen + before.outputLen - 1], said.at(-1));
      }
    }
    assert(numRequestsOf({ name: "", sessions }) > 10 && maxLenOf({ name: "", sessions }) > 1000);
  }
});

Deno.test("of an agent's prompts, 95 % was there before", () => {
  const { sessions } = agents({ count: 200, perSecond: 1, seed: 1 });
  let [numTokens, numNew] = [0, 0];
  for (const { turns } of sessions) {
    turns.forEach(({ promptLen }, i) => {
      const before = turns[i - 1];
      numTokens += promptLen;
      // The system prompt is there from the first conversation on.
      numNew += promptLen - (before === undefined ? 4000 : before.promptLen + before.outputLen);
    });
  }
  const share = 1 - numNew / numTokens;
  assert(share > 0.94 && share < 0.98, `${share}`);
});

Deno.test("percentiles are those of the nearest rank, and zeros of nothing", () => {
  const values = Array.from({ length: 200 }, (_, i) => 200 - i);
  assertEquals(percentiles(values), { p50: 100, p90: 180, p99: 198 });
  assertEquals(percentiles([]), { p50: 0, p90: 0, p99: 0 });
});

Deno.test("a bar chart has a bar per value, as long as it says, and escapes texts", () => {
  const bars = [{ label: "a<b", value: 1 }, { label: "c", value: 4 }];
  const panel = { title: "x & y", groups: [{ title: "g", bars }], format: String };
  const svg = barChart("t", [panel]);
  const lengths = [...svg.matchAll(/<rect x="118"[^>]* width="([\d.]+)"/g)].map(([, w]) => w);
  assertEquals(lengths, ["28", "112"]);
  assert(svg.includes("a&lt;b") && svg.includes("x &amp; y") && !svg.includes("a<b"));
});

/**
 * A whole load against a server whose events come at times that are written down, and its figures
 * computed by hand from the formulas of docs/bench.md.
 */
import { assert, assertEquals } from "@std/assert";
import { loadFigures } from "../../src/client/load_figures.ts";
import { type LoadOptions, runLoad } from "../../src/client/load_runner.ts";
import { OpenAiClient } from "../../src/client/openai_client.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** A clock that knows how often it was looked at: once for each event that a client reads. */
class WatchedClock extends ManualClock {
  numLooks = 0;

  override now(): number {
    this.numLooks++;
    return super.now();
  }
}

const delta = (fields: Record<string, string>, finish_reason: string | null = null) => ({
  choices: [{ delta: fields, finish_reason }],
});
const usage = (prompt: number, output: number, cached: number) => ({
  choices: [],
  usage: {
    prompt_tokens: prompt,
    completion_tokens: output,
    prompt_tokens_details: { cached_tokens: cached },
  },
});

/** What happens when, ms; a request is named by its prompt. The last event of each is its end. */
const SCRIPT: readonly (readonly [atMs: number, name: string, event: unknown])[] = [
  [50, "a", delta({ role: "assistant", content: "" })],
  [100, "a", delta({ content: "x" })],
  [130, "a", delta({ content: "y" })],
  [190, "a", delta({ content: "z" })],
  [200, "a", delta({}, "stop")],
  [210, "a", usage(10, 5, 4)],
  [240, "b", delta({ reasoning_content: "hm" })],
  [290, "b", delta({ content: "x" })],
  [310, "b", usage(30, 2, 0)],
  [360, "c", delta({ content: "x" })],
  [400, "c", usage(20, 1, 16)],
];
const BEGINS: Readonly<Record<string, number>> = { a: 0, b: 40, c: 60, refused: 70 };

/** Lets whatever can run do so, until `holds`. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Plays the script, each event after the one before was read, and returns what the load has seen. */
async function play(options: Partial<LoadOptions> = {}) {
  const clock = new WatchedClock();
  const streams = new Map<string, ReadableStreamDefaultController<Uint8Array>>();
  const client = new OpenAiClient({
    baseUrl: "http://fake/v1",
    clock,
    fetch: async (request) => {
      const [{ content }] = (await request.json()).messages;
      if (content === "refused") return new Response("no", { status: 500 });
      return new Response(
        new ReadableStream({ start: (stream) => void streams.set(content, stream) }),
      );
    },
  });
  const sessions = Object.entries(BEGINS)
    .map(([text, beginMs]) => ({ beginMs, turns: [{ text, maxTokens: 9 }] }));
  let numDone = 0;
  const onProgress = (done: number) => void (numDone = done);
  const load = runLoad(sessions, { client, endpoint: "chat", fields: {}, onProgress, ...options });
  let nowMs = 0;
  const moveTo = (ms: number) => {
    clock.advance(ms - nowMs);
    nowMs = ms;
  };
  for (const [name, beginMs] of Object.entries(BEGINS)) {
    moveTo(beginMs);
    await until(() => name === "refused" ? numDone === 1 : streams.has(name));
  }
  for (const [atMs, name, event] of SCRIPT) {
    moveTo(atMs);
    const isEnd = "usage" in (event as object);
    const numBefore = clock.numLooks;
    const numDoneBefore = numDone;
    const text = `data: ${JSON.stringify(event)}\n\n${isEnd ? "data: [DONE]\n\n" : ""}`;
    streams.get(name)!.enqueue(new TextEncoder().encode(text));
    await until(() => clock.numLooks > numBefore && (!isEnd || numDone > numDoneBefore));
  }
  return await load;
}

const GOALS = new Map([["ttft", 250], ["tpot", 40], ["e2el", 320]] as const);

function assertNear(actual: number, expected: number, what: string): void {
  assert(Math.abs(actual - expected) < 1e-9, `${what} is ${actual}, not ${expected}`);
}

Deno.test("a load's figures are those of the formulas, event by event", async () => {
  const figures = loadFigures(await play(), { goals: GOALS, percentiles: [50, 90, 99] });
  assertEquals([figures.numCompleted, figures.numFailed, figures.peakConcurrency], [3, 1, 4]);
  assertEquals([figures.promptTokens, figures.outputTokens], [60, 8]);
  assertNear(figures.cachedShare!, 20 / 60, "cachedShare");
  // From the first begin to the last end, whose counts come at 400 ms.
  assertNear(figures.seconds, 0.4, "seconds");
  assertNear(figures.requestThroughput, 3 / 0.4, "requestThroughput");
  assertNear(figures.outputThroughput, 8 / 0.4, "outputThroughput");
  assertNear(figures.totalThroughput, 68 / 0.4, "totalThroughput");
  // "a" keeps all goals; TPOT of "b" is 50 ms, and TTFT of "c" 300.
  assertNear(figures.goodput!, 1 / 0.4, "goodput");
  const hand = {
    // a: 100 - 0, b: 240 - 40, c: 360 - 60
    ttft: { mean: 200, median: 200, std: Math.sqrt(20_000 / 3), p: [200, 280, 298] },
    // a: (190 - 100) / (5 - 1), b: (290 - 240) / (2 - 1); "c" has one token
    tpot: { mean: 36.25, median: 36.25, std: 13.75, p: [36.25, 47.25, 49.725] },
    // a: 30 and 60, b: 50
    itl: { mean: 140 / 3, median: 50, std: Math.sqrt(1400 / 9), p: [50, 58, 59.8] },
    // a: 190 - 0, b: 290 - 40, c: 360 - 60
    e2el: { mean: 740 / 3, median: 250, std: Math.sqrt(18_200 / 9), p: [250, 290, 299] },
  };
  for (const [name, { mean, median, std, p }] of Object.entries(hand)) {
    const found = figures[name as keyof typeof hand];
    assertNear(found.mean, mean, `mean ${name}`);
    assertNear(found.median, median, `median ${name}`);
    assertNear(found.std, std, `std ${name}`);
    found.percentiles.forEach(([percent, value], i) => {
      assertNear(value, p[i]!, `P${percent} ${name}`);
    });
  }
});

Deno.test("with --pieces choices every event with a choice counts, as vllm bench serve has it", async () => {
  const { results } = await play({ pieces: "choices" });
  const [a] = results.filter(({ promptTokens }) => promptTokens === 10);
  // The role at 50 is the first piece, and the end at 200 the last.
  assertEquals([a!.ttft, a!.itls, a!.latency], [50, [50, 30, 60, 10], 200]);
});

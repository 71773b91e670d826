import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { allocators, type ServerSizes } from "../../../bench/sim/allocators.ts";
import { fitCosts, parseCosts, type StepCosts, stepMsOf } from "../../../bench/sim/costs.ts";
import { EngineServer } from "../../../bench/sim/engine_server.ts";
import { type Load, numRequestsOf, type Session } from "../../../bench/sim/load.ts";
import { simulate } from "../../../bench/sim/simulate.ts";
import { summarize } from "../../../bench/sim/summary.ts";
import { replaySteps } from "../../../bench/replay_steps.ts";
import { formatStepTraceRecord } from "../../../src/engine/step_trace.ts";
import { runs } from "../../support/runs.ts";

/** A step takes 10 ms and 1 ms per position. */
const PLAIN: StepCosts = {
  device: "none",
  model: "none",
  source: "made up",
  stepMs: 10,
  tokenMs: 1,
  pairMs: 0,
  blockMs: 0,
};
const SIZES: ServerSizes = {
  poolTokens: 4096,
  maxModelLen: 256,
  maxNumSeqs: 8,
  maxNumBatchedTokens: 64,
};

/** Turns of so many prompt and output tokens, `gapMs` apart; `text` is the first token's id. */
function session(
  text: number,
  ...turns: readonly [gapMs: number, prompt: number, output: number][]
) {
  return {
    turns: turns.map(([gapMs, promptLen, outputLen]) => ({
      gapMs,
      promptLen,
      outputLen,
      prompt: () => Uint32Array.from({ length: promptLen }, (_, i) => text + i),
      token: (i: number) => text + promptLen + i,
    })),
  } satisfies Session;
}

Deno.test("a simulation computed by hand: two requests, of which one joins the other", () => {
  // 5: 4 prompt positions, 14 ms. 19: a decode, 11 ms, while the other arrives at 20.
  // 30: a decode and 2 prompt positions, 13 ms. 43: both have their last tokens.
  const load: Load = {
    name: "by hand",
    sessions: [session(0, [5, 4, 3]), session(50, [20, 2, 1])],
  };
  for (const { name, make } of allocators(SIZES).filter(({ name }) => name !== "static batches")) {
    const { requests, gapsMs, steps } = simulate(load, make, PLAIN);
    const times = requests.map(({ arrivedMs, firstTokenMs, endMs }) => [
      arrivedMs,
      firstTokenMs,
      endMs,
    ]);
    assertEquals(times, [[5, 19, 43], [20, 43, 43]], name);
    assertEquals(gapsMs, [11, 13], name);
    assertEquals([steps.numSteps, steps.numTokens, steps.numSequences], [3, 8, 4], name);
  }
});

Deno.test("a static batch starts when the one before is over, and computes all its rows until then", () => {
  const load: Load = {
    name: "by hand",
    sessions: [session(0, [0, 2, 3]), session(9, [0, 2, 1]), session(20, [1, 2, 1])],
  };
  const { make } = allocators(SIZES).find(({ name }) => name === "static batches")!;
  const { requests, steps } = simulate(load, make, PLAIN);
  // 4 positions, 14 ms; two rows twice, 12 ms each, though one is over; then the third alone.
  assertEquals(requests.map(({ endMs }) => endMs), [38, 14, 50]);
  assertEquals(steps.numTokens, 4 + 2 + 2 + 2);
});

Deno.test("the next turn of a session arrives after the end of the one before, and finds it cached", () => {
  const load: Load = { name: "by hand", sessions: [session(0, [0, 32, 2], [100, 48, 1])] };
  const find = (wanted: string) => allocators(SIZES).find(({ name }) => name === wanted)!.make;
  const { requests, totals, steps } = simulate(load, find("paged + cache"), PLAIN);
  // 42 ms for 32 positions, 11 for the second token; the next prompt begins with those 33 computed.
  assertEquals(requests.map(({ arrivedMs, endMs }) => [arrivedMs, endMs]), [[0, 53], [153, 179]]);
  assertEquals([totals.numHit, totals.numQueried, steps.numTokens], [32, 80, 32 + 1 + 16]);
  const slots = simulate(load, find("slots"), PLAIN);
  // A slot goes on at any position: 33 are there.
  assertEquals([slots.totals.numHit, slots.steps.numTokens], [33, 32 + 1 + 15]);
  assertEquals(simulate(load, find("paged"), PLAIN).steps.numTokens, 32 + 1 + 48);
});

const sessions: fc.Arbitrary<Session[]> = fc.array(
  fc.record({
    text: fc.constantFrom(0, 0, 1000, 2000),
    turns: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 200 }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 80 }),
      ),
      { minLength: 1, maxLength: 4 },
    ),
  }).map(({ text, turns }) => session(text, ...turns)),
  { minLength: 1, maxLength: 20 },
);

Deno.test("every request that fits finishes with all its tokens, whatever divides the memory", () => {
  let numFinished = 0;
  let numPreemptions = 0;
  fc.assert(
    fc.property(sessions, fc.integer({ min: 256, max: 1024 }), (sessions, poolTokens) => {
      const load: Load = { name: "any", sessions };
      for (const { name, make } of allocators({ ...SIZES, poolTokens })) {
        let server: unknown;
        const simulated = simulate(load, (now) => {
          const made = make(now);
          server = made;
          return made;
        }, PLAIN);
        if (server instanceof EngineServer) server.scheduler.checkIntegrity();
        assertEquals(simulated.requests.length, numRequestsOf(load), name);
        for (
          const { turn, outcome, numTokens, arrivedMs, firstTokenMs, endMs } of simulated.requests
        ) {
          if (turn.promptLen + turn.outputLen > SIZES.maxModelLen) {
            assertEquals(outcome, "refused", name);
          } else {
            assertEquals([outcome, numTokens], ["finished", turn.outputLen], name);
            assert(arrivedMs < firstTokenMs && firstTokenMs <= endMs, name);
            numFinished++;
          }
        }
        const { waste, hitRate } = summarize(simulated, { ttftMs: 1, tpotMs: 1 });
        assert(
          waste >= 0 && waste < 1 && hitRate >= 0 && hitRate < 1,
          `${name}: ${waste} ${hitRate}`,
        );
        numPreemptions += simulated.totals.numPreemptions;
      }
    }),
    { seed: 41, numRuns: runs(60) },
  );
  assert(numFinished > 500 && numPreemptions > 5, `${numFinished} and ${numPreemptions}`);
});

Deno.test("a simulated engine plans what a server's scheduler plans (its step trace, replayed)", async () => {
  const lines: string[] = [];
  const load: Load = {
    name: "traced",
    sessions: Array.from(
      { length: 24 },
      (_, i) => session((i % 12) * 1000, [7 * i, 30 + 5 * i, 60 + i], [50, 60 + 5 * i, 10]),
    ),
  };
  const sizes = {
    numBlocks: 60,
    blockSize: 16,
    maxModelLen: 400,
    maxNumSeqs: 16,
    maxNumBatchedTokens: 64,
    evictionPolicy: "lru",
  } as const;
  const { requests, steps, totals } = simulate(
    load,
    (now) =>
      new EngineServer(
        sizes,
        now,
        (entry) => lines.push(formatStepTraceRecord({ ...entry, ms: now() })),
      ),
    PLAIN,
  );
  assert(requests.every(({ outcome }) => outcome === "finished"));
  assert(totals.numPreemptions > 0 && totals.numHit > 0, JSON.stringify(totals));
  assertEquals((await replaySteps(lines)).numSteps, steps.numSteps);
});

Deno.test("a preempted request goes to host memory where the costs say so, and copies take their time", async () => {
  const load: Load = { name: "l", sessions: [session(0, [0, 32, 64]), session(500, [0, 32, 64])] };
  const lines: string[] = [];
  // Twelve blocks at their ends, of which there are ten.
  const sizes = { ...SIZES, numBlocks: 10, blockSize: 16, numSwapBlocks: 10 };
  const { poolTokens: _, ...given } = sizes;
  const played = (swapMs: number) =>
    simulate(
      load,
      (now) =>
        new EngineServer(
          given,
          now,
          (entry) => lines.push(formatStepTraceRecord({ ...entry, ms: now() })),
        ),
      { ...PLAIN, swapMs },
    );
  const [dear, cheap] = [played(1000), played(2)];
  assertEquals([dear.totals.numPreemptions, cheap.totals.numPreemptions], [1, 1]);
  const needed = 2 * (32 + 64 - 1);
  assert(dear.steps.numTokens > needed, "nothing was computed twice");
  assertEquals(cheap.steps.numTokens, needed);
  // Each step takes 10 ms and 1 ms per position; five blocks go out and come back.
  assertEquals(cheap.steps.busyMs, 10 * cheap.steps.numSteps + needed + 2 * 2 * 5);
  assertEquals((await replaySteps(lines)).numSteps, dear.steps.numSteps + cheap.steps.numSteps);
});

Deno.test("fitCosts finds the constants that steps were made with, and none below 0", () => {
  const made = { stepMs: 5, tokenMs: 0.2, pairMs: 0, blockMs: 0.01 };
  const works = [[1, 9], [1, 900], [32, 9], [32, 900], [128, 0], [512, 0], [512, 900]]
    .map(([numTokens, start]) => ({
      numTokens: numTokens!,
      numPairs: numTokens! * (start! + 1),
      numBlocks: Math.ceil((start! + numTokens!) / 16) * (start === 0 ? 1 : numTokens!),
    }));
  const samples = works.map((work) => ({ work, ms: stepMsOf({ ...PLAIN, ...made }, work) }));
  const fitted = fitCosts(samples);
  for (const name of ["stepMs", "tokenMs", "pairMs", "blockMs"] as const) {
    assert(
      Math.abs(fitted[name] - made[name]) < 0.02 * (made[name] || 0.01),
      `${name} ${fitted[name]}`,
    );
  }
});

Deno.test("parseCosts reads the last line, and names the constant that is none", () => {
  assertEquals(parseCosts(`a warning\n${JSON.stringify(PLAIN)}\n`, "costs.json"), PLAIN);
  const wrong = JSON.stringify({ ...PLAIN, pairMs: -1 });
  assertThrows(() => parseCosts(wrong, "costs.json"), RangeError, "costs.json: pairMs is -1");
});

import { assert, assertEquals } from "@std/assert";
import { distribution, loadFigures } from "../../src/client/load_figures.ts";
import type { RequestResult } from "../../src/client/load_runner.ts";

function result(fields: Partial<RequestResult>): RequestResult {
  return {
    turn: 0,
    ttft: 100,
    itls: [],
    latency: 100,
    promptTokens: 10,
    outputTokens: 1,
    cachedTokens: undefined,
    ...fields,
  };
}

Deno.test("distribution() is numpy's: linear percentiles, deviation of the population", () => {
  // np.percentile([1, 2, 3, 4], [0, 25, 50, 90, 99, 100]), np.std
  const { mean, std, median, percentiles } = distribution([4, 1, 3, 2], [0, 25, 50, 90, 99, 100]);
  assertEquals([mean, median], [2.5, 2.5]);
  assert(Math.abs(std - 1.118033988749895) < 1e-12);
  const expected = [1, 1.75, 2.5, 3.7, 3.97, 4];
  for (const [i, [, value]] of percentiles.entries()) {
    assert(Math.abs(value - expected[i]!) < 1e-12, `${value} is not ${expected[i]}`);
  }
  assertEquals(distribution([], [50]), {
    mean: 0,
    std: 0,
    median: 0,
    percentiles: [[50, 0]],
  });
});

Deno.test("loadFigures() computes every figure by its formula, over whole answers alone", () => {
  const results = [
    result({ ttft: 100, itls: [10, 30], latency: 140, outputTokens: 5, cachedTokens: 4 }),
    result({ ttft: 300, itls: [], latency: 300, outputTokens: 1, promptTokens: 30 }),
    result({ error: "broken", ttft: 9999, itls: [9999], latency: 9999, outputTokens: 9999 }),
  ];
  const goals = new Map([["ttft", 200], ["tpot", 10]] as const);
  const figures = loadFigures({ results, seconds: 2, peakConcurrency: 3 }, {
    goals,
    percentiles: [50],
  });
  assertEquals([figures.numCompleted, figures.numFailed], [2, 1]);
  assertEquals(figures.failures, [["broken", 1]]);
  assertEquals([figures.promptTokens, figures.outputTokens], [40, 6]);
  assertEquals(figures.cachedShare, 0.1);
  assertEquals(figures.requestThroughput, 1);
  assertEquals(figures.outputThroughput, 3);
  assertEquals(figures.totalThroughput, 23);
  // The first keeps both: its TPOT is (140 - 100) / 4 = 10. The second is late.
  assertEquals(figures.goodput, 0.5);
  assertEquals(figures.ttft.mean, 200);
  assertEquals(figures.tpot, { mean: 10, std: 0, median: 10, percentiles: [[50, 10]] });
  assertEquals(figures.itl.mean, 20);
  assertEquals(figures.e2el.mean, 220);
  assertEquals(figures.ttftByTurn, []);
});

Deno.test("loadFigures() counts the TPOT of one token as 0 for goodput, and in no mean", () => {
  const results = [result({ outputTokens: 1 })];
  const load = { results, seconds: 1, peakConcurrency: 1 };
  const figures = loadFigures(load, { goals: new Map([["tpot", 1]]), percentiles: [] });
  assertEquals([figures.goodput, figures.tpot.mean], [1, 0]);
  assertEquals(loadFigures(load, { goals: new Map(), percentiles: [] }).goodput, undefined);
  assertEquals(loadFigures(load, { goals: new Map(), percentiles: [] }).cachedShare, undefined);
});

Deno.test("loadFigures() gives the time to the first token by turn", () => {
  const results = [
    result({ turn: 0, ttft: 100 }),
    result({ turn: 0, ttft: 300 }),
    result({ turn: 1, ttft: 50 }),
  ];
  const load = { results, seconds: 1, peakConcurrency: 1 };
  const { ttftByTurn } = loadFigures(load, { goals: new Map(), percentiles: [] });
  assertEquals(ttftByTurn, [200, 50]);
});

import { assert, assertEquals } from "@std/assert";
import { CostMeter } from "../../src/engine/cost_meter.ts";

const MIB = 2 ** 20;
/** What a warm-up has copied: 4 MiB out in 8 ms, and in in 2 ms. */
const WARM = { storedBytes: 4 * MIB, storeMs: 8, loadedBytes: 4 * MIB, loadMs: 2 };

/** A plan of so many positions, of one step or of several with as many each. */
function planOf(numTokens: number, numDecodeSteps = 1) {
  const chunk = { sequenceId: 0, start: 0, tokens: new Uint32Array(1), blockTables: [[0]] };
  return { numTokens, chunks: [{ ...chunk, numDecodeSteps }] };
}

function assertNear(actual: number | undefined, expected: number): void {
  assert(Math.abs(actual! - expected) < 1e-6 * expected, `${actual}, not ${expected}`);
}

Deno.test("CostMeter learns what a position more takes, and says nothing until steps differ", () => {
  const meter = new CostMeter();
  // A step takes 5 ms, and each position 0.25 ms more.
  const msOf = (numTokens: number) => 5 + 0.25 * numTokens;
  for (const numTokens of [8, 8, 8]) {
    assertEquals(meter.observe(planOf(numTokens), msOf(numTokens), WARM), undefined);
  }
  const costs = meter.observe(planOf(200), msOf(200), WARM);
  assertNear(costs?.tokenMs, 0.25);
  assertEquals([costs?.storeMsPerMiB, costs?.loadMsPerMiB], [2, 0.5]);
  // As before: nothing new to tell.
  assertEquals(meter.observe(planOf(40), msOf(40), WARM), undefined);
});

Deno.test("CostMeter counts the time of several decode steps for each of them", () => {
  const meter = new CostMeter();
  meter.observe(planOf(8, 4), 4 * 7, WARM);
  assertNear(meter.observe(planOf(200), 55, WARM)?.tokenMs, 0.25);
});

Deno.test("CostMeter keeps what it knows of positions while all steps are alike", () => {
  const meter = new CostMeter();
  meter.observe(planOf(8), 7, WARM);
  assertNear(meter.observe(planOf(200), 55, WARM)?.tokenMs, 0.25);
  let told: number | undefined;
  for (let i = 0; i < 2000; i++) told = meter.observe(planOf(8), 7, WARM)?.tokenMs ?? told;
  // Enough of them to forget the others.
  const slower = { ...WARM, storedBytes: 5 * MIB, storeMs: 108 };
  const costs = meter.observe(planOf(8), 107, slower);
  assertNear(costs?.tokenMs, 0.25);
  assertEquals(told, undefined);
});

Deno.test("CostMeter does not take the time of copies for that of positions, and follows a slower bus", () => {
  const meter = new CostMeter();
  let times = WARM;
  meter.observe(planOf(8), 7, times);
  const before = meter.observe(planOf(200), 55, times);
  let costs = before;
  for (let i = 0; i < 200; i++) {
    // Copies come with the longer steps.
    const [numTokens, numMiB] = i % 2 === 0 ? [8, 0] : [200, 1];
    const loadMs = 30 * numMiB;
    times = {
      ...times,
      loadedBytes: times.loadedBytes + numMiB * MIB,
      loadMs: times.loadMs + loadMs,
    };
    costs = meter.observe(planOf(numTokens), 5 + 0.25 * numTokens + loadMs, times) ?? costs;
  }
  assertNear(costs?.tokenMs, 0.25);
  assertNear(costs?.storeMsPerMiB, 2);
  assert(costs!.loadMsPerMiB > 25 && costs!.loadMsPerMiB <= 30, `${costs!.loadMsPerMiB}`);
});

Deno.test("CostMeter says nothing where nothing has been copied", () => {
  const none = { storedBytes: 0, storeMs: 0, loadedBytes: 0, loadMs: 0 };
  const meter = new CostMeter();
  meter.observe(planOf(8), 7, none);
  assertEquals(meter.observe(planOf(200), 55, none), undefined);
});

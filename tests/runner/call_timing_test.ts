import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { NO_WORK, type StepDims } from "../../kernels/step.ts";
import { KernelError } from "../../src/core/errors.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { timeCandidates, type TimedCalls } from "../../src/runner/call_timing.ts";
import { TimedDevice } from "../support/timed_device.ts";

const BUFFER = new HostBuffer("any", 4);
const NUM_ROUNDS = 3;

function call(label: string): KernelCall<StepDims> {
  return {
    ...{ label, kernelName: label, source: "", constants: {}, bindings: [], buffers: [] },
    ...{ workgroups: () => [1, 1, 1], reference: () => {} },
  };
}

function timed(...labels: string[]): TimedCalls<StepDims> {
  return { calls: labels.map(call), dims: NO_WORK, readFrom: BUFFER };
}

async function secondsOf(device: TimedDevice, candidates: TimedCalls<StepDims>[], runMs = 50) {
  const now = () => device.clock.now();
  return await timeCandidates(device, candidates, { runMs, numRounds: NUM_ROUNDS, now });
}

/** Two kernels, of 2 and 5 milliseconds. */
const cost = ({ label }: { label: string }) => label === "slow" ? 5 : 2;

Deno.test("timeCandidates() takes off what a submission costs", async () => {
  const device = new TimedDevice({ cost });
  const seconds = await secondsOf(device, [timed("slow"), timed("fast"), timed("fast", "slow")]);
  [0.005, 0.002, 0.007].forEach((expected, i) => assertAlmostEquals(seconds[i]!, expected, 1e-9));
  assertEquals(await secondsOf(device, []), []);
});

Deno.test("timeCandidates() repeats short calls until a run is long, and long ones not", async () => {
  const device = new TimedDevice({ cost });
  await secondsOf(device, [timed("fast", "slow"), timed("fast")]);
  const lengths = device.runs.map((calls) => calls.length);
  // 50 ms are 8 passes of 7 ms and 25 of 2 ms.
  assert(lengths.includes(16) && lengths.includes(25));
  const brief = new TimedDevice({ cost });
  await secondsOf(brief, [timed("slow")], 5);
  assertEquals(Math.max(...brief.runs.map((calls) => calls.length)), 1);
});

Deno.test("timeCandidates() lets candidates take turns", async () => {
  const device = new TimedDevice({ cost });
  await secondsOf(device, [timed("slow"), timed("fast")]);
  const rounds = device.runs.slice(-2 * NUM_ROUNDS).map(([first]) => first!.label);
  assertEquals(rounds, ["slow", "fast", "slow", "fast", "slow", "fast"]);
});

Deno.test("timeCandidates() takes the best round, and prepares each run outside of the time", async () => {
  let numRuns = 0;
  const device = new TimedDevice({ cost: () => 2 + 100 * (numRuns++ % 2) });
  let numPrepared = 0;
  const prepare = () => {
    device.clock.advance(1000);
    numPrepared++;
  };
  const [seconds] = await secondsOf(device, [{ ...timed("any"), prepare }], 1);
  assertAlmostEquals(seconds!, 0.002, 1e-9);
  assertEquals(numPrepared, device.runs.length);
});

Deno.test("timeCandidates() is told of a call that does not compile", async () => {
  const device = new TimedDevice({ compiles: ({ label }) => label !== "bad" });
  await assertRejects(() => secondsOf(device, [timed("good"), timed("bad")]), KernelError);
});

import { assertEquals } from "@std/assert";
import { StepTimes } from "../../src/engine/step_times.ts";
import { ManualClock } from "../support/manual_clock.ts";

Deno.test("StepTimes adds up steps alone, and splits them into waiting, overlap and the rest", () => {
  const clock = new ManualClock();
  const device = { waitedMs: 100, overlappedMs: 50 };
  const times = new StepTimes(device, clock);
  for (let i = 0; i < 2; i++) {
    clock.advance(1000);
    times.begin();
    clock.advance(10);
    device.waitedMs += 6;
    device.overlappedMs += 3;
    times.end();
  }
  times.begin();
  clock.advance(7);
  assertEquals(times.totals, { stepMs: 20, hostMs: 2, overlappedMs: 6 });
});

Deno.test("StepTimes counts all of a step as the host's where the device tells nothing", () => {
  const clock = new ManualClock();
  const times = new StepTimes({}, clock);
  times.begin();
  clock.advance(10);
  times.end();
  assertEquals(times.totals, { stepMs: 10, hostMs: 10, overlappedMs: 0 });
});

import { assertEquals } from "@std/assert";
import type { EngineStall } from "../../src/core/engine_port.ts";
import { stepDeadlineMs, Watchdog } from "../../src/engine/watchdog.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";
import { ManualClock } from "../support/manual_clock.ts";

function rig() {
  const clock = new ManualClock();
  const said: string[] = [];
  const stalls: (EngineStall | undefined)[] = [];
  let numPings = 0;
  const watchdog = new Watchdog({
    clock,
    ping: () => numPings++,
    onHang: (reason) => said.push(reason),
    onStall: (stall) => stalls.push(stall),
  });
  return { stalls, clock, said, watchdog, numPings: () => numPings };
}

Deno.test("Watchdog says once that an isolate is silent, and looks no more", () => {
  const { clock, said, watchdog } = rig();
  watchdog.watchSteps(2000);
  for (let i = 0; i < 3; i++) clock.advance(500);
  assertEquals(said, []);
  clock.advance(500);
  assertEquals(said, ["The engine has not completed a step for 2 s"]);
  assertEquals(clock.pendingMs, []);
});

Deno.test("Watchdog blames no isolate for the time in which the process itself was stopped", () => {
  const { clock, said, watchdog } = rig();
  watchdog.watchSteps(120_000);
  clock.advance(1000);
  clock.advance(3_600_000);
  assertEquals(said, []);
  watchdog.hear({ numAdvances: 1, isBusy: true });
  for (let i = 0; i < 119; i++) clock.advance(1000);
  assertEquals(said, []);
  clock.advance(1000);
  assertEquals(said.length, 1);
});

Deno.test("Watchdog asks again only once it has been answered, and not while an isolate starts", () => {
  const { clock, watchdog, numPings } = rig();
  watchdog.watchStart(60_000);
  for (let i = 0; i < 5; i++) clock.advance(1000);
  assertEquals(numPings(), 0);
  watchdog.watchSteps(60_000);
  for (let i = 0; i < 5; i++) clock.advance(1000);
  assertEquals(numPings(), 1);
  watchdog.hear({ numAdvances: 0, isBusy: false });
  clock.advance(1000);
  assertEquals(numPings(), 2);
  // Another isolate owes no answer of the one before.
  watchdog.watchSteps(60_000);
  clock.advance(1000);
  assertEquals(numPings(), 3);
  watchdog.cancel();
  assertEquals(clock.pendingMs, []);
});

Deno.test("Watchdog tells what an isolate is at that does not get on, until it does", () => {
  const { clock, stalls, watchdog } = rig();
  watchdog.watchSteps(120_000);
  const answer = (numAdvances: number) => {
    clock.advance(1000);
    watchdog.hear({ numAdvances, isBusy: true, work: "the device computes step 7" });
  };
  answer(7);
  for (let i = 0; i < 29; i++) answer(7);
  assertEquals([stalls, watchdog.stall], [[], undefined]);
  answer(7);
  const reason = "the device computes step 7";
  assertEquals(stalls, [{ seconds: 30, reason }]);
  for (let i = 0; i < 10; i++) answer(7);
  assertEquals([stalls.length, watchdog.stall], [1, { seconds: 40, reason }]);
  answer(8);
  assertEquals([stalls.at(-1), stalls.length, watchdog.stall], [undefined, 2, undefined]);
});

Deno.test("Watchdog says of an isolate that answers nothing what it was at before", () => {
  const { clock, stalls, watchdog } = rig();
  watchdog.watchSteps(8000);
  for (let i = 0; i < 2; i++) clock.advance(1000);
  const reason = "it answers nothing: its thread computes, or waits in a driver";
  assertEquals(stalls, [{ seconds: 2, reason }]);
  watchdog.hear({ numAdvances: 1, isBusy: true, work: "the next step is planned" });
  for (let i = 0; i < 3; i++) clock.advance(1000);
  assertEquals(watchdog.stall, {
    seconds: 3,
    reason: `${reason}; before, the next step is planned`,
  });
  // The end of the isolate is told otherwise.
  watchdog.cancel();
  assertEquals([watchdog.stall, stalls.length], [undefined, 3]);
});

Deno.test("stepDeadlineMs() gives a slow device longer than two minutes, by its warm-up", () => {
  const info = { ...FAKE_INFO, maxNumBatchedTokens: 512, deviceKind: "webgpu" as const };
  const phases = (seconds: number) => [{ name: "load", seconds: 900 }, {
    name: "warm up",
    seconds,
  }];
  assertEquals(stepDeadlineMs(info), 120_000);
  assertEquals(stepDeadlineMs({ ...info, phases: phases(1) }), 120_000);
  // 512 tokens take 8 times as long as 64, and 4 times that is allowed.
  assertEquals(stepDeadlineMs({ ...info, phases: phases(60) }), 1_920_000);
  const small = { ...info, maxNumBatchedTokens: 8, phases: phases(60) };
  assertEquals(stepDeadlineMs(small), 240_000);
  // The reference device has been warmed up with fewer.
  const cpu = { ...info, deviceKind: "cpu" as const, phases: phases(60) };
  assertEquals(stepDeadlineMs(cpu), 15_360_000);
});

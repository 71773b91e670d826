import { assert, assertEquals, assertMatch } from "@std/assert";
import type { EngineFailure } from "../../src/engine/client_options.ts";
import { listen } from "../http/server.ts";
import type { FaultName } from "./fault_names.ts";
import { assertServes, faultServer, health, metric, strike, untilReady } from "./fault_rig.ts";

/** What each says of itself; those that may take a thread or the process along are not here. */
const REASONS: Readonly<Partial<Record<FaultName, RegExp>>> = {
  throw: /a bug in the runner/,
  lost: /The fake device is gone/,
  hang: /has not completed a step for 3 s/,
  close: /has ended without saying why/,
  exit: /has ended without saying why/,
};

for (const [fault, reason] of Object.entries(REASONS) as [FaultName, RegExp][]) {
  Deno.test(`an engine that fails by "${fault}" is replaced, and all that was in flight goes on where it stopped`, async () => {
    const failures: EngineFailure[] = [];
    /** Asked at the very moment of each change. */
    const states: Promise<string>[] = [];
    const stalls: string[] = [];
    const faulty = faultServer({
      restart: { initialDelayMs: 50 },
      onFailure: (failure) => {
        failures.push(failure);
        states.push(stateNow());
      },
      onReady: () => states.push(stateNow()),
      onStall: (stall) => stalls.push(stall?.reason ?? "over"),
    });
    const { client, server } = faulty;
    const stateNow = async () => (await (await server.request("/health")).json()).state;
    await using door = await listen(server);
    // Before the door, which waits for what streams.
    using _closed = { [Symbol.dispose]: () => client.close() };
    const { url } = door;
    const starting = faulty.start();
    assertEquals(await health(url), "starting");
    await starting;
    assertEquals(await health(url), "ready");

    await strike(url, fault);
    const { numSteps, numRunning, numWaiting, numGeneratedTokens, numPromptTokens } = client.stats;
    assertMatch(failures[0]?.reason ?? "", reason);
    assertEquals(
      failures.map(({ state, numKept, numFailed }) => [state, numKept, numFailed]),
      [["restarting", 21, 0], ["restarting", 21, 0], ["restarting", 20, 1]],
    );
    assertEquals([client.numInFlight, numRunning, numWaiting], [0, 0, 0]);
    assertEquals([numGeneratedTokens, numPromptTokens], [20 * 250, 20 * 2], "none counts twice");

    if (fault === "hang") {
      assertEquals(stalls.length, 3, "each hang is told of before it ends the engine");
      for (const stall of stalls) {
        assertMatch(
          stall,
          /^the device computes step \d+ of \d+ chunks and \d+ tokens; \d+ running/,
        );
      }
      assertEquals(await metric(url, "quire:engine_stalls_total"), 3);
    }

    await untilReady(url);
    await assertServes(url);
    const again = ["restarting", "ready"];
    assertEquals(await Promise.all(states), ["ready", ...again, ...again, ...again]);
    assert(client.stats.numSteps > numSteps, "a counter went down");
    assertEquals(await metric(url, "quire:engine_restarts_total"), 3);
    assertEquals(await metric(url, "quire:engine_losses_total"), 3);
    // More where others are suspected, too, and tried alone before the culprit is.
    assert(await metric(url, "quire:resumed_requests_total") >= 21 + 1 + 20);
    assertEquals(await metric(url, 'quire:engine_state{state="ready"'), 1);
    assertEquals(await metric(url, 'quire:engine_state{state="restarting"'), 0);
  });
}

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
  Deno.test(`an engine that fails by "${fault}" answers all that is in flight and is ready again`, async () => {
    const failures: EngineFailure[] = [];
    /** Asked at the very moment of each change. */
    const states: Promise<string>[] = [];
    const faulty = faultServer({
      restart: { initialDelayMs: 50 },
      onFailure: (failure) => {
        failures.push(failure);
        states.push(stateNow());
      },
      onReady: () => states.push(stateNow()),
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
    const numSteps = client.stats.numSteps;
    assertMatch(failures[0]?.reason ?? "", reason);
    assertEquals([failures[0]?.state, failures[0]?.numRequests], ["restarting", 21]);
    assertEquals([client.numInFlight, client.stats.numRunning, client.stats.numWaiting], [0, 0, 0]);

    await untilReady(url);
    await assertServes(url);
    assertEquals(await Promise.all(states), ["ready", "restarting", "ready"]);
    assert(client.stats.numSteps > numSteps, "a counter went down");
    assertEquals(await metric(url, "quire:engine_restarts_total"), 1);
    assertEquals(await metric(url, 'quire:engine_state{state="ready"'), 1);
    assertEquals(await metric(url, 'quire:engine_state{state="restarting"'), 0);
  });
}

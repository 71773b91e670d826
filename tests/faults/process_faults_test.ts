import { assertEquals, assertStringIncludes } from "@std/assert";
import { EXIT_CODES } from "../../src/server/process_end.ts";
import { ServerProcess } from "../support/server_process.ts";
import { assertServes, metric, strike, strikeToTheEnd, untilReady } from "./fault_rig.ts";

/** A server that fails on demand, at `port` or a free one; heaps have 200 MiB. */
function startFaulty(maxNumFailures: number, port = 0): Promise<ServerProcess> {
  const heap = "--v8-flags=--max-old-space-size=200";
  const numbers = [maxNumFailures, port].map(String);
  return ServerProcess.startScript([heap, "tests/faults/fault_server.ts", ...numbers]);
}

/** The child's pipes outlive the test that made them. */
const CHILD = { sanitizeOps: false, sanitizeResources: false };

Deno.test({
  name: "an engine whose heap is full is replaced, and all that was in flight goes on",
  ...CHILD,
  async fn() {
    using server = await startFaulty(5);
    await strike(server.url, "heap");
    await untilReady(server.url);
    await assertServes(server.url);
    assertEquals(await metric(server.url, "quire:engine_restarts_total"), 3);
    await server.stop();
  },
});

Deno.test({
  name: "an engine in a loop is replaced once; the second time the process ends for its supervisor",
  ...CHILD,
  async fn() {
    using server = await startFaulty(9);
    const port = Number(new URL(server.url).port);
    await strike(server.url, "loop");
    await untilReady(server.url);
    await assertServes(server.url);
    await strikeToTheEnd(server.url, "loop");
    assertEquals(await server.exitCode(), EXIT_CODES.engineFailed);
    assertStringIncludes(server.output, "2 threads of the engine hang and cannot be ended");
    using successor = await startFaulty(9, port);
    await assertServes(successor.url);
    await successor.stop();
  },
});

Deno.test({
  name: "an engine that fails too often in a row ends the process, with every request answered",
  ...CHILD,
  async fn() {
    using server = await startFaulty(2);
    await strikeToTheEnd(server.url, "throw");
    assertEquals(await server.exitCode(), EXIT_CODES.engineFailed);
    assertStringIncludes(server.output, "error: The engine is given up");
  },
});

Deno.test({
  name: "a signal ends a server whose engine is in a loop",
  ...CHILD,
  async fn() {
    using server = await startFaulty(9);
    await strike(server.url, "loop");
    await untilReady(server.url);
    await server.stop();
  },
});

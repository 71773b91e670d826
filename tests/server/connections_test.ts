import { assertEquals } from "@std/assert";
import { Connections } from "../../src/server/connections.ts";

class FakeConnection {
  bytesWritten = 0;
  writableLength = 0;
  isDestroyed = false;

  destroy(): void {
    this.isDestroyed = true;
  }
}

function fakes(count: number): FakeConnection[] {
  return Array.from({ length: count }, () => new FakeConnection());
}

const LIMITS = { maxConnections: 3, writeTimeoutMs: 100 };

Deno.test("at the limit the connection that is idle longest makes room", () => {
  const connections = new Connections(LIMITS);
  const [a, b, c, d, e] = fakes(5) as [
    FakeConnection,
    FakeConnection,
    FakeConnection,
    FakeConnection,
    FakeConnection,
  ];
  for (const connection of [a, b, c]) connections.add(connection, 0);
  // The first is idle again, but for a shorter time than the others.
  connections.begin(a);
  connections.end(a);
  assertEquals([connections.add(d, 1), connections.add(e, 2)], [true, true]);
  assertEquals([a, b, c, d].map(({ isDestroyed }) => isDestroyed), [false, true, true, false]);
  assertEquals(connections.size, 3);
});

Deno.test("connections with requests under way stay, and what is too much is turned away", () => {
  const connections = new Connections(LIMITS);
  const [a, b, c, d] = fakes(4) as [FakeConnection, FakeConnection, FakeConnection, FakeConnection];
  for (const connection of [a, b, c]) {
    connections.add(connection, 0);
    connections.begin(connection);
  }
  // Two requests on one connection: it is busy until both are answered.
  connections.begin(a);
  connections.end(a);
  assertEquals(connections.add(d, 1), false);
  connections.end(a);
  assertEquals([connections.add(d, 2), a.isDestroyed], [true, true]);
  assertEquals([b, c].some(({ isDestroyed }) => isDestroyed), false);
  connections.remove(b);
  assertEquals(connections.size, 2);
});

Deno.test("closeStalled() closes who takes nothing, not who takes little or has nothing to take", () => {
  const connections = new Connections(LIMITS);
  const [stalled, slow, idle] = fakes(3) as [FakeConnection, FakeConnection, FakeConnection];
  for (const connection of [stalled, slow, idle]) connections.add(connection, 0);
  stalled.bytesWritten = slow.bytesWritten = 1000;
  stalled.writableLength = slow.writableLength = 500;
  for (let nowMs = 0; nowMs < 1000; nowMs += 50) {
    slow.bytesWritten++;
    connections.closeStalled(nowMs);
    if (nowMs < 100) assertEquals(stalled.isDestroyed, false);
  }
  assertEquals([stalled, slow, idle].map((c) => c.isDestroyed), [true, false, false]);
});

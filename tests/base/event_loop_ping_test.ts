import { assertEquals } from "@std/assert";
import { EventLoopPing } from "../../src/base/event_loop_ping.ts";

Deno.test("EventLoopPing lets a message through that was sent before", async () => {
  const eventLoop = new EventLoopPing();
  const channel = new MessageChannel();
  let numReceived = 0;
  channel.port1.onmessage = () => numReceived++;
  channel.port2.postMessage("hello");
  // A message may take a few turns to cross; a loop that never turned would wait for ever.
  for (let turn = 0; numReceived === 0 && turn < 1000; turn++) await eventLoop.ping();
  assertEquals(numReceived, 1);
  channel.port1.close();
  channel.port2.close();
  eventLoop.close();
});

Deno.test("EventLoopPing.close() resolves the pings under way", async () => {
  const eventLoop = new EventLoopPing();
  const pings = [eventLoop.ping(), eventLoop.ping()];
  eventLoop.close();
  await Promise.all(pings);
});

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

Deno.test("EventLoopPing resolves every ping, in order", async () => {
  const eventLoop = new EventLoopPing();
  const order: number[] = [];
  await Promise.all([1, 2, 3].map((n) => eventLoop.ping().then(() => order.push(n))));
  assertEquals(order, [1, 2, 3]);
  eventLoop.close();
});

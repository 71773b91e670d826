import { assertEquals, assertThrows } from "@std/assert";
import { AsyncQueue } from "../../src/base/async_queue.ts";
import { InvariantError } from "../../src/base/invariant.ts";

Deno.test("AsyncQueue hands on in order what was pushed before and while the loop waits", async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.push(2);
  const seen: number[] = [];
  const loop = (async () => {
    for await (const item of queue) seen.push(item);
  })();
  await Promise.resolve();
  queue.push(3);
  queue.push(4);
  queue.close();
  await loop;
  assertEquals(seen, [1, 2, 3, 4]);
});

Deno.test("AsyncQueue.close() lets the loop have what is left, and drops what comes later", async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.close();
  queue.push(2);
  assertEquals(await Array.fromAsync(queue), [1]);
});

Deno.test("AsyncQueue tells once when its loop is left early, never when it ends", async () => {
  let numAbandoned = 0;
  const queue = new AsyncQueue<number>(() => numAbandoned++);
  queue.push(1);
  queue.push(2);
  const iterator = queue[Symbol.asyncIterator]();
  assertEquals((await iterator.next()).value, 1);
  await iterator.return!();
  assertEquals(numAbandoned, 1);
  assertEquals((await iterator.next()).done, true, "what was left is dropped");

  const ended = new AsyncQueue<number>(() => numAbandoned++);
  ended.push(1);
  ended.close();
  await Array.fromAsync(ended);
  assertEquals(numAbandoned, 1);
});

Deno.test("AsyncQueue ends a pending wait when its iterator is returned", async () => {
  const iterator = new AsyncQueue<number>()[Symbol.asyncIterator]();
  const pending = iterator.next();
  await iterator.return!();
  assertEquals(await pending, { done: true, value: undefined });
});

Deno.test("AsyncQueue is for one loop", () => {
  const queue = new AsyncQueue<number>();
  queue[Symbol.asyncIterator]();
  assertThrows(() => queue[Symbol.asyncIterator](), InvariantError, "iterated twice");
});

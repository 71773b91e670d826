import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { NumberedLog } from "../../src/base/numbered_log.ts";

Deno.test("NumberedLog numbers items without holes and keeps the latest", () => {
  const log = new NumberedLog<string>(3);
  assertEquals([log.firstSeq, log.nextSeq, log.from(0)], [0, 0, []]);
  log.append(["a", "b"]);
  log.append(["c", "d", "e"]);
  assertEquals([log.firstSeq, log.nextSeq], [2, 5]);
  assertEquals(log.from(0), [{ seq: 2, item: "c" }, { seq: 3, item: "d" }, { seq: 4, item: "e" }]);
  assertEquals(log.from(3, 1), [{ seq: 3, item: "d" }]);
  assertEquals(log.from(5), []);
  assertThrows(() => new NumberedLog(0), InvariantError);
});

Deno.test("NumberedLog agrees with a plain list under any history", () => {
  const appends = fc.array(fc.array(fc.nat({ max: 9 }), { maxLength: 4 }), { maxLength: 20 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      appends,
      fc.nat({ max: 40 }),
      (capacity, all, seq) => {
        const log = new NumberedLog<number>(capacity);
        const list: number[] = [];
        for (const items of all) {
          log.append(items);
          list.push(...items);
          const numbered = list.map((item, seq) => ({ seq, item })).slice(-capacity);
          assertEquals(log.from(seq), numbered.filter((entry) => entry.seq >= seq));
        }
      },
    ),
    { seed: 11 },
  );
});

const NEVER = new AbortController().signal;

Deno.test("NumberedLog.follow() replays what is kept and goes on with what comes", async () => {
  const log = new NumberedLog<string>(3);
  log.append(["a", "b", "c", "d"]);
  const seen: string[] = [];
  for await (const { seq, item } of log.follow(2, NEVER)) {
    seen.push(`${seq}${item}`);
    if (item === "d") setTimeout(() => log.append(["e", "f"]), 1);
    if (item === "f") break;
  }
  assertEquals(seen, ["2c", "3d", "4e", "5f"]);
});

Deno.test("NumberedLog.follow() lets a slow reader jump instead of keeping items for it", async () => {
  const log = new NumberedLog<number>(2);
  log.append([0]);
  const reader = log.follow(0, NEVER);
  assertEquals((await reader.next()).value, { seq: 0, item: 0 });
  log.append([1, 2, 3, 4]);
  assertEquals((await reader.next()).value, { seq: 3, item: 3 });
  assertEquals((await reader.next()).value, { seq: 4, item: 4 });
});

Deno.test("NumberedLog.follow() ends when its signal aborts, also while it waits", async () => {
  const log = new NumberedLog<number>(2);
  const abort = new AbortController();
  const ended = Array.fromAsync(log.follow(0, abort.signal));
  log.append([7]);
  setTimeout(() => abort.abort(), 1);
  assertEquals(await ended, [{ seq: 0, item: 7 }]);
});

Deno.test("NumberedLog.follow() keeps nothing of the times that it has waited", async () => {
  const log = new NumberedLog<number>(2);
  const reader = log.follow(0, NEVER);
  const wait = async (item: number) => {
    const next = reader.next();
    log.append([item]);
    await next;
  };
  for (let i = 0; i < 1000; i++) await wait(i);
  const before = Deno.memoryUsage().heapUsed;
  // 400 bytes of each would be 80 MB.
  for (let i = 0; i < 200_000; i++) await wait(i);
  const grown = Deno.memoryUsage().heapUsed - before;
  assert(grown < 40e6, `the heap has grown by ${grown} bytes`);
});

Deno.test("NumberedLog.follow() listens to its signal only while it is read", async () => {
  const log = new NumberedLog<number>(2);
  log.append([7]);
  let numListeners = 0;
  const signal = {
    aborted: false,
    addEventListener: () => numListeners++,
    removeEventListener: () => numListeners--,
  } as unknown as AbortSignal;
  for await (const _ of log.follow(0, signal)) {
    assertEquals(numListeners, 1);
    break;
  }
  assertEquals(numListeners, 0);
});

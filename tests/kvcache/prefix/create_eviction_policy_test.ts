import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  createEvictionPolicy,
  type EvictionParts,
} from "../../../src/kvcache/prefix/create_eviction_policy.ts";
import { RetentionPolicy } from "../../../src/kvcache/prefix/retention_policy.ts";
import type { EvictionPolicy } from "../../../src/kvcache/prefix/eviction_policy.ts";
import { runs, times } from "../../support/runs.ts";

/** Blocks on no paths, at a time that stands still. */
const PARTS: EvictionParts = { now: () => 0, parentOf: () => undefined, numTailBlocks: 2 };

/** Takes all idle blocks, each as a leaf, in the order of eviction. */
function drain(policy: EvictionPolicy, count: number): number[] {
  return Array.from({ length: count }, () => {
    const id = policy.next();
    policy.remove(id);
    return id;
  });
}

function idle(policy: EvictionPolicy, ...ids: number[]): void {
  for (const id of ids) policy.becomeIdle(id, true);
}

Deno.test("LruPolicy evicts in the order of last use", () => {
  const policy = createEvictionPolicy("lru", 4, PARTS);
  idle(policy, 2, 0, 3, 1);
  policy.remove(2);
  idle(policy, 2);
  policy.checkIntegrity(4);
  assertEquals(drain(policy, 4), [0, 3, 1, 2]);
});

Deno.test("SlruPolicy evicts what was never hit first, and bounds what it protects", () => {
  const policy = createEvictionPolicy("slru", 5, PARTS);
  for (const id of [0, 1, 2, 3]) policy.becomeCached(id);
  for (const id of [0, 1]) policy.hit(id);
  idle(policy, 0, 1, 2, 3);
  policy.checkIntegrity(4);
  assertEquals(drain(policy, 4), [2, 3, 0, 1]);
  for (const id of [0, 1, 2, 3, 4]) policy.hit(id);
  idle(policy, 4, 3, 2, 1, 0);
  policy.checkIntegrity(5);
  policy.remove(3);
  policy.becomeCached(3);
  idle(policy, 3);
  // Four of five may be protected: block 4 fell out, and 3 holds something else by then.
  assertEquals(drain(policy, 5), [4, 3, 2, 1, 0]);
});

Deno.test("SlruPolicy lets a block that fell out of the protected segment earn its place again", () => {
  const policy = createEvictionPolicy("slru", 2, PARTS);
  for (const id of [0, 1]) policy.hit(id);
  idle(policy, 0, 1);
  policy.remove(0);
  idle(policy, 0);
  assertEquals(policy.next(), 0, "used again without a hit");
  policy.remove(0);
  policy.hit(0);
  idle(policy, 0);
  assertEquals(policy.next(), 1);
});

Deno.test("RetentionPolicy evicts by priority, then by last use; the default is 35", () => {
  const policy = createEvictionPolicy("priority", 6, PARTS);
  for (const id of [0, 1, 2, 3, 4, 5]) policy.becomeCached(id);
  policy.setRetention(0, { priority: 90 });
  policy.setRetention(1, { priority: 0 });
  policy.setRetention(2, { priority: 36 });
  policy.setRetention(3, { priority: 34 });
  idle(policy, 0, 5, 1, 2, 3, 4);
  policy.checkIntegrity(6);
  assertEquals(drain(policy, 6), [1, 3, 5, 4, 2, 0]);
});

Deno.test("RetentionPolicy lets a priority that has expired revert to 35, up or down (S131-S137)", () => {
  let now = 0;
  const policy = createEvictionPolicy("priority", 4, { ...PARTS, now: () => now });
  for (const id of [0, 1, 2, 3]) policy.becomeCached(id);
  policy.setRetention(0, { priority: 100, durationMs: 10 });
  policy.setRetention(1, { priority: 0, durationMs: 10 });
  policy.setRetention(2, { priority: 50 });
  idle(policy, 0, 2, 3, 1);
  assertEquals(policy.next(), 1);
  now = 9;
  assertEquals(policy.next(), 1);
  now = 10;
  assertEquals(drain(policy, 4), [0, 3, 1, 2]);
});

Deno.test("RetentionPolicy keeps a parent until its children are gone, whatever its priority", () => {
  const policy = createEvictionPolicy("priority", 2, PARTS);
  policy.setRetention(0, { priority: 0 });
  policy.setRetention(1, { priority: 100 });
  policy.becomeIdle(1, true);
  policy.becomeIdle(0, false);
  assertEquals(policy.next(), 1);
  policy.remove(1);
  policy.becomeLeaf(0);
  assertEquals(policy.next(), 0);
});

Deno.test("RetentionPolicy forgets the priority of what a block held before", () => {
  const policy = createEvictionPolicy("priority", 2, PARTS);
  policy.setRetention(0, { priority: 100 });
  policy.becomeCached(0);
  policy.becomeCached(1);
  idle(policy, 0, 1);
  assertEquals(policy.next(), 0);
});

Deno.test("RetentionPolicy counts in 32 bits: what starts anew changes no victim", () => {
  const step = fc.record({
    verb: fc.constantFrom("idle", "use", "wait", "evict"),
    id: fc.nat(7),
    priority: fc.nat(100),
    durationMs: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
    waitedMs: fc.nat(30),
  });
  let numVictims = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60, size: "max" }), (history) => {
      let now = 1e6 + 0.25;
      const plain = new RetentionPolicy(8, () => now);
      const short = new RetentionPolicy(8, () => now, { maxStamp: 9, maxElapsedMs: 20 });
      const both = [plain, short];
      const idle = new Set<number>();
      for (const { verb, id, priority, durationMs, waitedMs } of history) {
        if (verb === "wait") now += waitedMs;
        else if (verb === "idle" && !idle.has(id)) {
          for (const policy of both) {
            policy.becomeCached(id);
            policy.setRetention(
              id,
              durationMs === undefined ? { priority } : { priority, durationMs },
            );
            policy.becomeIdle(id, true);
          }
          idle.add(id);
        } else if (verb === "use" && idle.delete(id)) both.forEach((policy) => policy.remove(id));
        else if (verb === "evict" && idle.size > 0) {
          const [victim, other] = both.map((policy) => policy.next());
          assertEquals(other, victim);
          both.forEach((policy) => policy.remove(victim!));
          idle.delete(victim!);
          numVictims++;
        }
        both.forEach((policy) => policy.checkIntegrity(idle.size));
      }
    }),
    { seed: 12, numRuns: runs(500) },
  );
  assert(numVictims > times(500), `only ${numVictims} victims`);
});

Deno.test("HitsPerTokenPolicy evicts the long run that was used as often as a short one, whole", () => {
  // Two paths: 0 above 1 above 2, and 3 alone.
  const parents = new Map([[1, 0], [2, 1]]);
  const parts = { ...PARTS, parentOf: (id: number) => parents.get(id) };
  const policy = createEvictionPolicy("hits-per-token", 4, parts);
  for (const id of [0, 1, 2, 3]) policy.becomeCached(id);
  // Once each: 1/1 for the short one, though idle longest, and 1/3 for each of the others.
  policy.becomeIdle(3, true);
  policy.becomeIdle(2, true);
  policy.becomeIdle(1, false);
  policy.becomeIdle(0, false);
  policy.checkIntegrity(4);
  assertEquals(policy.next(), 2);
  policy.remove(2);
  policy.becomeLeaf(1);
  assertEquals(policy.next(), 1);
  policy.remove(1);
  policy.becomeLeaf(0);
  assertEquals(drain(policy, 2), [0, 3]);
});

Deno.test("TailLruPolicy evicts the ends of paths, and makes no new end of what is left", () => {
  // 0 above 1 above 2 above 3, and 4 alone; a tail is two blocks.
  const parents = new Map([[1, 0], [2, 1], [3, 2]]);
  const parts = { ...PARTS, parentOf: (id: number) => parents.get(id) };
  const policy = createEvictionPolicy("tail-lru", 5, parts);
  for (const id of [0, 1, 2, 3, 4]) policy.becomeCached(id);
  idle(policy, 3, 2, 1, 0, 4);
  policy.checkIntegrity(5);
  assertEquals(drain(policy, 3), [3, 2, 4]);
  // Used again and let go without the end that it had: 1 and 0 are still no tails.
  for (const id of [1, 0]) policy.remove(id);
  policy.becomeCached(4);
  idle(policy, 1, 0, 4);
  assertEquals(drain(policy, 3), [4, 1, 0]);
});

Deno.test("ReusePolicy is LRU until it knows better, and then keeps the kind that comes back", () => {
  let now = 0;
  const policy = createEvictionPolicy("reuse", 4, { ...PARTS, now: () => now });
  for (const id of [0, 1, 2, 3]) policy.becomeCached(id);
  idle(policy, 2);
  now = 10;
  idle(policy, 0);
  assertEquals(policy.next(), 2);
  for (const id of [0, 2]) policy.remove(id);
  // Block 1 comes back after 100 ms each time; what is found once does not, for ten times as long.
  for (let round = 0; round < 100; round++) {
    idle(policy, 1);
    now += 100;
    policy.remove(1);
    policy.hit(1);
    policy.becomeCached(3);
    idle(policy, 3);
    now += 1000;
    policy.remove(3);
  }
  policy.becomeCached(3);
  idle(policy, 1);
  now += 50;
  idle(policy, 3);
  now += 100;
  policy.checkIntegrity(2);
  assertEquals(policy.next(), 3, "idle for less time, and less likely to come back");
});

Deno.test("ReusePolicy counts a block that is found while pinned by its wait before", () => {
  let now = 0;
  const policy = createEvictionPolicy("reuse", 100, { ...PARTS, now: () => now });
  for (let id = 0; id < 100; id++) policy.becomeCached(id);
  // Each waits 1 ms until it is pinned, is found much later, and gets its second kind.
  for (let id = 0; id < 50; id++) idle(policy, id);
  now += 1;
  for (let id = 0; id < 50; id++) policy.remove(id);
  now += 1000;
  for (let id = 0; id < 50; id++) policy.hit(id);
  idle(policy, 50);
  now += 700;
  idle(policy, 0);
  now += 300;
  assertEquals(policy.next(), 50, "none of its kind has come back after so long a wait");
});

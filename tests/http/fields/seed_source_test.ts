import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { createSeedSource, NUM_SEEDS, seedOfSample } from "../../../src/http/fields/seed_source.ts";

function draw(next: () => number, count: number): number[] {
  return Array.from({ length: count }, next);
}

Deno.test("createSeedSource() repeats itself for a seed and differs without one", () => {
  assertEquals(draw(createSeedSource(5), 20), draw(createSeedSource(5), 20));
  assertNotEquals(draw(createSeedSource(5), 20), draw(createSeedSource(6), 20));
  assertNotEquals(draw(createSeedSource(), 20), draw(createSeedSource(), 20));
});

Deno.test("createSeedSource() makes distinct non-negative safe integers", () => {
  const seeds = draw(createSeedSource(NUM_SEEDS - 1), 1000);
  assert(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0));
  assertEquals(new Set(seeds).size, 1000);
});

Deno.test("seedOfSample() adds the index and stays a seed at the upper end", () => {
  assertEquals([0, 1, 2].map((i) => seedOfSample(40, i)), [40, 41, 42]);
  assertEquals([0, 1, 2].map((i) => seedOfSample(NUM_SEEDS - 1, i)), [NUM_SEEDS - 1, 0, 1]);
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat({ max: 64 }), (seed, index) => {
      const own = seedOfSample(seed, index);
      return Number.isSafeInteger(own) && own >= 0 &&
        BigInt(own) === (BigInt(seed) + BigInt(index)) % BigInt(NUM_SEEDS);
    }),
    { seed: 3 },
  );
});

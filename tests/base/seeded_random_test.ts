import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { SeededRandom } from "../../src/base/seeded_random.ts";

function draws(seed: number, count: number): number[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, () => random.uniform());
}

Deno.test("SeededRandom.uniform() repeats for a seed and differs between seeds", () => {
  assertEquals(draws(7, 20), draws(7, 20));
  const first = [0, 1, 2, 3, 2 ** 31].map((seed) => draws(seed, 1)[0]);
  assertEquals(new Set(first).size, 5);
});

Deno.test("SeededRandom.uniform() stays inside the open interval and fills it evenly", () => {
  const values = draws(1, 100_000);
  assert(values.every((value) => value > 0 && value < 1));
  const counts = new Array(10).fill(0);
  for (const value of values) counts[Math.floor(value * 10)]++;
  // The deviation of such a count is 95.
  for (const count of counts) assertAlmostEquals(count, 10_000, 400);
});

Deno.test("SeededRandom.normal() has mean 0, deviation 1 and no correlation in sequence", () => {
  const random = new SeededRandom(1);
  const values = Array.from({ length: 100_000 }, () => random.normal());
  const mean = (list: number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;
  assertAlmostEquals(mean(values), 0, 0.012);
  assertAlmostEquals(mean(values.map((value) => value ** 2)), 1, 0.02);
  assertAlmostEquals(mean(values.map((value, i) => value * (values[i - 1] ?? 0))), 0, 0.012);
  const beyond2 = values.filter((value) => Math.abs(value) > 2).length / values.length;
  assertAlmostEquals(beyond2, 0.0455, 0.003);
});

import { assert, assertEquals } from "@std/assert";
import { CURVE_MULTIPLES, MissRatioCurve } from "../../../src/kvcache/prefix/miss_ratio_curve.ts";

/** A uniform key below 2^53 for each block number. */
function keyOf(block: number): number {
  let x = BigInt(block) * 0x9e3779b97f4a7c15n;
  x = BigInt.asUintN(64, (x ^ (x >> 29n)) * 0xbf58476d1ce4e5b9n);
  x = BigInt.asUintN(64, (x ^ (x >> 32n)) * 0x94d049bb133111ebn);
  return Number(x >> 11n);
}

/** Share of accesses that an LRU cache of `capacity` blocks has, said slowly. */
function lruHitRate(accesses: readonly number[], capacity: number): number {
  const cache = new Set<number>();
  let hits = 0;
  for (const block of accesses) {
    if (cache.delete(block)) hits++;
    cache.add(block);
    if (cache.size > capacity) cache.delete(cache.values().next().value!);
  }
  return hits / accesses.length;
}

/** Skewed accesses to many blocks, by a fixed linear congruence. */
function skewedAccesses(count: number, numBlocks: number): number[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor(numBlocks * (state / 2 ** 32) ** 2);
  });
}

function curveOf(accesses: readonly number[], capacity: number, maxSamples: number) {
  const curve = new MissRatioCurve(() => capacity, maxSamples);
  for (const block of accesses) curve.access(keyOf(block));
  return curve;
}

Deno.test("MissRatioCurve is exact while all blocks fit its sample", () => {
  const accesses = skewedAccesses(20_000, 300);
  const points = curveOf(accesses, 64, 512).estimate();
  assertEquals(points.map(({ multiple }) => multiple), [...CURVE_MULTIPLES, Infinity]);
  for (const { multiple, hitRate } of points) {
    assertEquals(hitRate, lruHitRate(accesses, 64 * multiple), `at ${multiple}`);
  }
});

Deno.test("MissRatioCurve estimates an LRU cache from a sample of the blocks", () => {
  const accesses = skewedAccesses(300_000, 50_000);
  for (const { multiple, hitRate } of curveOf(accesses, 4000, 4096).estimate()) {
    const exact = lruHitRate(accesses, 4000 * multiple);
    assert(Math.abs(hitRate - exact) < 0.03, `at ${multiple}: ${hitRate} instead of ${exact}`);
  }
});

Deno.test("MissRatioCurve rises with memory and starts at zero", () => {
  const empty = new MissRatioCurve(() => 10).estimate();
  assert(empty.every(({ hitRate }) => hitRate === 0));
  const rates = curveOf(skewedAccesses(50_000, 9000), 500, 128).estimate();
  for (let i = 1; i < rates.length; i++) assert(rates[i]!.hitRate >= rates[i - 1]!.hitRate);
});

Deno.test("MissRatioCurve follows a pool that is resized", () => {
  let capacity = 1;
  const curve = new MissRatioCurve(() => capacity, 64);
  const atOne = () => curve.estimate().find(({ multiple }) => multiple === 1)!.hitRate;
  for (let i = 0; i < 100; i++) curve.access(keyOf(i % 10));
  assertEquals(atOne(), 0);
  capacity = 10;
  for (let i = 0; i < 100; i++) curve.access(keyOf(i % 10));
  assertEquals(atOne(), 0.5);
  assertEquals(curve.numAccesses, 200);
});

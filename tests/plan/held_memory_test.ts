import { assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { heldMemory, type WindowShare } from "../../src/plan/held_memory.ts";
import {
  LENGTH_DISTRIBUTIONS,
  type RequestLengths,
  sampleLengths,
} from "../../src/plan/request_lengths.ts";
import { runs } from "../support/runs.ts";

/** Percent of useful memory by allocator, for R1's traffic: 200,000 requests of at most 2,048. */
function usefulPercent(name: string): Record<string, number> {
  const distribution = LENGTH_DISTRIBUTIONS.find((known) => known.name === name)!;
  const requests = sampleLengths(distribution, { numRequests: 200_000, seed: 1 })
    .filter(({ promptLen, outputLen }) => promptLen + outputLen <= 2048);
  return Object.fromEntries(
    heldMemory(requests, { maxModelLen: 2048 }).map((row) => [
      `${row.allocator}${row.blockSize ?? ""}`,
      100 * row.usefulShare,
    ]),
  );
}

Deno.test("R1: heldMemory() finds 98.2 % of ShareGPT-like memory useful in blocks of 16", () => {
  const percent = usefulPercent("sharegpt-like");
  const shown = (name: string) => Number(percent[name]!.toFixed(1));
  assertEquals(["paged8", "paged16", "paged32", "paged64", "paged128"].map(shown), [
    99.1,
    98.2,
    96.5,
    93.2,
    87.3,
  ]);
  assertAlmostEquals(percent.paged256!, 77.3, 0.1);
  assertAlmostEquals(percent.contiguous!, 21.4, 0.1);
  // R1 leaves open how these two treat long requests; the bound is the distance of the readings.
  assertAlmostEquals(percent.power_of_two!, 45.9, 0.3);
  assertAlmostEquals(percent.exact!, 60.3, 0.4);
});

Deno.test("R1: heldMemory() finds Alpaca-like memory wasted by large blocks", () => {
  const percent = usefulPercent("alpaca-like");
  assertAlmostEquals(percent.contiguous!, 4.1, 0.1);
  assertAlmostEquals(percent.paged16!, 91.3, 0.15);
  assertAlmostEquals(percent.paged256!, 31.2, 0.2);
});

Deno.test("H1: heldMemory() wastes under 4 % up to blocks of 32 on ShareGPT, not at 256", () => {
  const percent = usefulPercent("sharegpt-like");
  assertEquals([percent.paged16! > 96, percent.paged32! > 96, percent.paged256! > 96], [
    true,
    true,
    false,
  ]);
});

Deno.test("heldMemory() integrates one life by hand", () => {
  // 3 prompt tokens, then 4 more: 3.5, 4.5, 5.5 and 6.5 tokens on average in the four steps.
  const rows = heldMemory([{ promptLen: 3, outputLen: 4 }], { maxModelLen: 10, blockSizes: [2] });
  assertEquals(rows.map(({ allocator, blockSize }) => [allocator, blockSize]), [
    ["contiguous", undefined],
    ["power_of_two", undefined],
    ["exact", undefined],
    ["paged", 2],
  ]);
  assertEquals(rows.map(({ meanHeldLen }) => meanHeldLen), [10, 7, 7, (4 + 6 + 6 + 8) / 4]);
  assertEquals(rows.map(({ usefulShare }) => usefulShare), [20 / 40, 20 / 28, 20 / 28, 20 / 24]);
});

Deno.test("heldMemory() caps a power of two at the longest length, and answers none for none", () => {
  const [, powerOfTwo] = heldMemory([{ promptLen: 5, outputLen: 9 }], { maxModelLen: 20 });
  assertEquals(powerOfTwo?.meanHeldLen, 20);
  assertEquals(heldMemory([], { maxModelLen: 20 }), []);
});

const lengths = fc.record({
  promptLen: fc.integer({ min: 1, max: 60 }),
  outputLen: fc.integer({ min: 1, max: 60 }),
});

/** Useful and held area of one life, summed over unit steps; windows end between positions. */
function bruteForce(
  { promptLen, outputLen }: RequestLengths,
  blockSize: number,
  windows: readonly WindowShare[],
): [number, number] {
  const [start, end] = [promptLen, promptLen + outputLen];
  let [useful, held] = [0, 0];
  for (const { share, window = Infinity } of windows) {
    const most = window === Infinity ? Infinity : Math.ceil(window / blockSize) + 1;
    for (let len = start; len < end; len++) {
      useful += share * (Math.min(len, window) + Math.min(len + 1, window)) / 2;
      held += share * blockSize * Math.min(Math.ceil((len + 1) / blockSize), most);
    }
  }
  return [useful, held];
}

Deno.test("heldMemory() agrees with a sum over every step, with windows and without", () => {
  const arbitrary = fc.record({
    requests: fc.array(lengths, { minLength: 1, maxLength: 5 }),
    blockSize: fc.integer({ min: 1, max: 20 }),
    window: fc.integer({ min: 1, max: 90 }),
    share: fc.constantFrom(0, 0.25, 0.5, 1),
  });
  fc.assert(
    fc.property(arbitrary, ({ requests, blockSize, window, share }) => {
      const windows = [{ share }, { share: 1 - share, window }];
      const rows = heldMemory(requests, { maxModelLen: 120, blockSizes: [blockSize], windows });
      const paged = rows.at(-1)!;
      let [useful, held, lifetime] = [0, 0, 0];
      for (const request of requests) {
        const [ofUseful, ofHeld] = bruteForce(request, blockSize, windows);
        useful += ofUseful;
        held += ofHeld;
        lifetime += request.outputLen;
      }
      return Math.abs(paged.usefulShare - useful / held) < 1e-9 &&
        Math.abs(paged.meanHeldLen - held / lifetime) < 1e-6;
    }),
    { seed: 13, numRuns: runs(500) },
  );
});

Deno.test("heldMemory() keeps shares within 0 and 1, and oracles above reservations", () => {
  fc.assert(
    fc.property(fc.array(lengths, { minLength: 1, maxLength: 8 }), (requests) => {
      const [contiguous, powerOfTwo, exact, ...paged] = heldMemory(requests, { maxModelLen: 120 });
      const shares = [contiguous!, powerOfTwo!, exact!, ...paged].map((row) => row.usefulShare);
      return shares.every((share) => share > 0 && share <= 1) &&
        contiguous!.usefulShare <= powerOfTwo!.usefulShare &&
        powerOfTwo!.usefulShare <= exact!.usefulShare;
    }),
    { seed: 14, numRuns: runs(300) },
  );
});

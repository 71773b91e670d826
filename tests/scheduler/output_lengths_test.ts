import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { OutputLengths } from "../../src/scheduler/output_lengths.ts";
import { runs } from "../support/runs.ts";

Deno.test("OutputLengths expect 512 tokens before any answer has ended, and as many again beyond", () => {
  const lengths = new OutputLengths();
  assertEquals([0, 511, 512, 700].map((count) => lengths.expect(count, 0.5)), [
    512,
    512,
    1024,
    1400,
  ]);
});

Deno.test("OutputLengths expect the quantile of those that were longer, of the last 256", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 600 }),
      fc.nat(60),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (noted, numTokens, quantile) => {
        const lengths = new OutputLengths();
        for (const length of noted) lengths.observe(length);
        const kept = [...new Array<number>(16).fill(512), ...noted].slice(-256);
        const longer = kept.filter((length) => length > numTokens).sort((a, b) => a - b);
        const expected = longer[Math.floor(quantile * longer.length)] ?? 2 * numTokens;
        assertEquals(lengths.expect(numTokens, quantile), expected);
      },
    ),
    { numRuns: runs(300) },
  );
});

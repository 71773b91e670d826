import { assertAlmostEquals, assertEquals } from "@std/assert";
import { parseProcessorTimes } from "../../../bench/peers/idle_machine.ts";
import { median } from "../../../bench/median.ts";
import { formatRates, ratios } from "../../../bench/peers/summary.ts";

const TABLE = {
  prefill: { ours: [10, 40, 30], theirs: [100, 200, 100] },
  decode: { ours: [8], theirs: [4] },
};

Deno.test("median() is the middle, or the mean of the two in the middle", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assertEquals(median([]), NaN);
});

Deno.test("ratios() are medians of runs side by side, not ratios of medians", () => {
  const { prefill, decode } = ratios(TABLE, "ours", "theirs");
  assertAlmostEquals(prefill!, 0.2);
  assertEquals(decode, 2);
  assertEquals(ratios({ one: { ours: [1, 9], theirs: [2] } }, "ours", "theirs"), { one: 0.5 });
});

Deno.test("formatRates() shows median, best and ratio of each peer", () => {
  assertEquals(formatRates("tokens/s", TABLE, ["ours", "theirs", "absent"], "theirs").split("\n"), [
    "median (best) tokens/s  ours                theirs       absent",
    "prefill                 30.0 (40.0) 0.200x  100 (200)    -",
    "decode                  8.00 (8.00) 2.000x  4.00 (4.00)  -",
  ]);
});

Deno.test("parseProcessorTimes() counts idle and waiting time as idle", () => {
  const stat = "cpu  10 1 5 100 20 2 1 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
  assertEquals(parseProcessorTimes(stat), { idle: 120, total: 139 });
});

import { assertEquals } from "@std/assert";
import { differByClock, firstDifference } from "../../src/misses/clock_text.ts";

Deno.test("differByClock() tells dates and times from other texts", () => {
  const cases: readonly [old: string, now: string, isClock: boolean][] = [
    ["It is 2026-11-30.", "It is 2026-12-01.", true],
    ["It is 2026-11-30T10:00:00Z.", "It is 2026-11-30T10:00:01Z.", true],
    ["Now: 10:15 PM, in Bern", "Now: 9:15 PM, in Bern", true],
    ["Monday, 30 November 2026: hello", "Tuesday, 1 December 2026: hello", true],
    ["On Nov 30, 2026 we", "On Dec 1, 2026 we", true],
    ["30/11/2026", "1/12/2026", true],
    ["at=1764496800", "at=1764496801", true],
    ["at=1764496800123", "at=1764496999000", true],
    ["You have 3 messages", "You have 4 messages", false],
    ["It is 2026-11-30. You are A.", "It is 2026-11-30. You are B.", false],
    ["You are kind. It is 10:15.", "You are terse. It is 10:16.", false],
    ["version 1.2.3", "version 1.2.4", false],
    ["the same 2026-11-30", "the same 2026-11-30", false],
    ["2026-11-30", "in winter", false],
    ["", "2026-11-30", false],
  ];
  for (const [old, now, isClock] of cases) {
    assertEquals(differByClock(old, now), isClock, `${old} | ${now}`);
    assertEquals(differByClock(now, old), isClock, `${now} | ${old}`);
  }
});

Deno.test("firstDifference() is the length of a text that begins the other", () => {
  assertEquals([firstDifference("abc", "abd"), firstDifference("ab", "abc")], [2, 2]);
  assertEquals(firstDifference("", "x"), 0);
});

import { assertEquals } from "@std/assert";
import { awayWords } from "../../src/window/page/machine/away_words.ts";

const LOST = {
  type: "away",
  time_ms: 0,
  state: "restarting",
  reason: "the device was lost",
} as const;

Deno.test("awayWords() says since when, what is next, and what becomes of requests", () => {
  const outage = {
    seconds: 2.4,
    failures_in_a_row: 1,
    next_try_in_seconds: 0.25,
    requests_kept: 1,
  };
  assertEquals(awayWords({ ...LOST, outage }), {
    title: "The engine was lost",
    facts: [
      "It was lost 2.0 s ago. Another is started in 250 ms.",
      "1 request goes on with the next engine.",
    ],
  });
  const later = { seconds: 75, failures_in_a_row: 3, failures_allowed: 5, requests_kept: 0 };
  assertEquals(awayWords({ ...LOST, outage: later }).facts, [
    "It was lost 1 min 15 s ago. Another is being started.",
    "No request was under way.",
    "3 engines have failed in a row, and 5 are too many.",
  ]);
});

Deno.test("awayWords() says of an engine that does not get on since when", () => {
  assertEquals(awayWords({ ...LOST, state: "ready", stalled_seconds: 31.5 }), {
    title: "The engine does not get on",
    facts: ["It last got on 31 s ago."],
  });
});

Deno.test("awayWords() has a title for each state, and no facts without an outage", () => {
  for (const state of ["starting", "ready", "draining", "failed"] as const) {
    const { title, facts } = awayWords({ ...LOST, state });
    assertEquals([title.length > 10, facts], [true, []]);
  }
});

import { assertEquals } from "@std/assert";
import { zeroStats } from "../../../src/core/engine_stats.ts";
import { emptyMap } from "../../../src/http/machine/block_changes.ts";
import {
  awayMessage,
  frameMessage,
  makeAwayFrame,
  makeFrame,
} from "../../../src/http/machine/machine_frame.ts";
import type { Moment } from "../../../src/http/machine/machine_history.ts";
import type {
  AwayMessage,
  Decision,
  FrameMessage,
  Moment as ShownMoment,
} from "../../../src/window/page/machine/frames.ts";

const PARTS = {
  frame: 3,
  timeMs: 5,
  view: {
    ...{ step: 7, blockSize: 16, groups: ["full"], blocks: emptyMap(8) },
    tree: { runs: [], scopes: [undefined], numRuns: 0, numBlocks: 0 },
    ...{ sequences: [], numHidden: 0, chunks: [], tookMs: 0 },
    steps: [{
      ...{ step: 6, endMs: 4, scheduleMs: 0.12345, hostMs: 1, deviceMs: 2 },
      ...{ numChunks: 1, numTokens: 16 },
    }],
  },
  before: undefined,
  tree: undefined,
  stats: zeroStats(),
  engine: { numRestarts: 2, notice: "The pool is smaller" },
  moment: undefined,
  decisions: [],
} as unknown as Parameters<typeof makeFrame>[0];

// The page imports nothing of the server: that both mean the same is held by these types.
Deno.test("a frame is what the page reads", () => {
  const message = frameMessage(PARTS, undefined, undefined);
  const shown: FrameMessage = { ...message, decisions: message.decisions as unknown as Decision[] };
  assertEquals(JSON.parse(makeFrame(PARTS).whole()), JSON.parse(JSON.stringify(shown)));
  assertEquals([shown.restarts, shown.notice], [2, "The pool is smaller"]);
  assertEquals(shown.steps, [[6, 4, 0.123, 1, 2, 1, 16]]);
});

Deno.test("a moment has on both sides of the wire the same fields", () => {
  const both = (moment: Moment): ShownMoment => moment;
  const back = (moment: ShownMoment): Moment => moment;
  assertEquals(typeof both, typeof back);
});

Deno.test("a frame of an engine that was lost is what the page reads", () => {
  const outage = { elapsedMs: 1500, numFailures: 2, maxNumFailures: 5, nextTryMs: 250 };
  const engine = { state: "restarting", outage, stall: undefined, numInFlight: 3 } as const;
  const parts = { frame: 4, timeMs: 6, engine, reason: "the device was lost" };
  const shown: AwayMessage = awayMessage(parts);
  assertEquals(JSON.parse(makeAwayFrame(parts).change()), JSON.parse(JSON.stringify(shown)));
  assertEquals(shown.outage, {
    ...{ seconds: 1.5, failures_in_a_row: 2, failures_allowed: 5, next_try_in_seconds: 0.25 },
    requests_kept: 3,
  });
  const stall = { seconds: 31, reason: "the device computes" };
  const stalled: AwayMessage = awayMessage({ ...parts, engine: { ...engine, stall } });
  assertEquals([shown.stalled_seconds, stalled.stalled_seconds], [undefined, 31]);
});

import { assertEquals } from "@std/assert";
import { NumberedLog } from "../../src/base/numbered_log.ts";
import type { KvEvent } from "../../src/core/kv_event.ts";
import { HotPrefixes } from "../../src/prefix_store/hot_prefixes.ts";
import type { RecordChanges } from "../../src/prefix_store/prefix_record.ts";
import { PrefixRecorder } from "../../src/prefix_store/prefix_recorder.ts";
import { logLines } from "../support/log_lines.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { stored, used } from "./prefix_events.ts";

const HOUR_MS = 3_600_000;

/** Lets everything that waits for a promise go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** A recorder whose store is a list and may be told to fail. */
class RecorderRig {
  readonly hot = new HotPrefixes({ maxRecords: 10, halfLifeMs: HOUR_MS, forgetAfterMs: HOUR_MS });
  readonly kvEvents = new NumberedLog<KvEvent>(100);
  readonly clock = new ManualClock();
  readonly written: RecordChanges[] = [];
  readonly reheats = new Set<number>();
  readonly lines: Record<string, unknown>[];
  failure: Error | undefined;
  readonly recorder: PrefixRecorder;

  constructor() {
    const { log, lines } = logLines();
    this.lines = lines;
    this.recorder = new PrefixRecorder({
      hotPrefixes: this.hot,
      store: {
        write: (changes) => {
          if (this.failure !== undefined) return Promise.reject(this.failure);
          this.written.push(changes);
          return Promise.resolve();
        },
      },
      kvEvents: this.kvEvents,
      isReheat: (seq) => this.reheats.has(seq),
      log,
      clock: this.clock,
      now: () => this.clock.now(),
    });
    this.recorder.start();
  }

  async advance(ms: number): Promise<void> {
    await settle();
    this.clock.advance(ms);
    await settle();
  }

  /** Keys and hits of each write. */
  get puts() {
    return this.written.map(({ put }) => put.map(({ key, hits }) => [key, hits]));
  }
}

Deno.test("PrefixRecorder writes what has changed every five seconds, and nothing else", async () => {
  const rig = new RecorderRig();
  rig.kvEvents.append([stored("ab"), used("ab")]);
  await rig.advance(4_999);
  assertEquals(rig.puts, []);
  await rig.advance(1);
  assertEquals(rig.puts, [[[":a", 0], [":ab", 1]]]);
  await rig.advance(5_000);
  assertEquals(rig.puts.length, 1);
  rig.kvEvents.append([used("a")]);
  await rig.advance(5_000);
  assertEquals(rig.puts.slice(1), [[[":a", 1]]]);
  await rig.recorder.stop();
  assertEquals([rig.puts.length, rig.clock.pendingMs], [2, []]);
});

Deno.test("PrefixRecorder.stop() takes in and writes what has come until then", async () => {
  const rig = new RecorderRig();
  rig.kvEvents.append([stored("a")]);
  const stopping = rig.recorder.stop();
  rig.kvEvents.append([used("a")]);
  await stopping;
  assertEquals(rig.puts, [[[":a", 1]]]);
});

Deno.test("PrefixRecorder counts no use by a reheat", async () => {
  const rig = new RecorderRig();
  rig.reheats.add(1);
  rig.kvEvents.append([stored("a"), used("a"), used("a")]);
  await rig.recorder.stop();
  assertEquals(rig.puts, [[[":a", 1]]]);
});

Deno.test("PrefixRecorder tries again what could not be written, and complains once", async () => {
  const rig = new RecorderRig();
  rig.kvEvents.append([stored("a")]);
  rig.failure = new Error("disk full");
  await rig.advance(5_000);
  rig.kvEvents.append([used("a")]);
  await rig.advance(5_000);
  assertEquals(rig.lines.map(({ level, reason }) => [level, reason]), [[
    "warn",
    "Error: disk full",
  ]]);
  rig.failure = undefined;
  await rig.advance(5_000);
  assertEquals(rig.puts, [[[":a", 1]]]);
  await rig.recorder.stop();
});

Deno.test("PrefixRecorder forgets, once an hour, what nobody uses", async () => {
  const rig = new RecorderRig();
  rig.kvEvents.append([stored("a"), stored("x")]);
  await rig.advance(5_000);
  rig.kvEvents.append([used("x")]);
  await rig.advance(HOUR_MS - 5_001);
  assertEquals(rig.hot.size, 2);
  await rig.advance(5_000);
  assertEquals(rig.hot.size, 1);
  assertEquals(rig.written.at(-1)!.remove, [":a"]);
  await rig.recorder.stop();
});

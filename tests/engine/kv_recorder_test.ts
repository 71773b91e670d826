import { assertEquals } from "@std/assert";
import { KvRecorder } from "../../src/engine/kv_recorder.ts";

function stored(key: string, parentKey: string, first: number, scope = "") {
  return { key, parentKey, tokens: Uint32Array.of(first, first + 1), scope, group: 0 };
}

Deno.test("KvRecorder makes one event of blocks stored along a path, and another for each other path", () => {
  const recorder = new KvRecorder();
  recorder.stored(stored("b", "a", 1));
  recorder.stored(stored("c", "b", 3));
  recorder.stored(stored("x", "a", 7));
  assertEquals(recorder.drain()?.kvEvents, [
    { type: "stored", keys: ["b", "c"], parentKey: "a", tokens: [1, 2, 3, 4], scope: "", group: 0 },
    { type: "stored", keys: ["x"], parentKey: "a", tokens: [7, 8], scope: "", group: 0 },
  ]);
  assertEquals(recorder.drain(), undefined);
});

Deno.test("KvRecorder keeps the order of stores, removals and resets", () => {
  const recorder = new KvRecorder();
  recorder.stored(stored("b", "a", 1));
  recorder.removed({ keys: ["b", "p"], group: 0 });
  recorder.removed({ keys: ["q"], group: 0 });
  recorder.cleared();
  recorder.stored(stored("b", "a", 1));
  recorder.used("b");
  const events = recorder.drain()!.kvEvents;
  assertEquals(events[1], { type: "removed", keys: ["b", "p", "q"], group: 0 });
  assertEquals(events.map(({ type }) => type), [
    "stored",
    "removed",
    "cleared",
    "stored",
    "used",
  ]);
});

Deno.test("KvRecorder keeps the groups of what is stored and removed apart", () => {
  const recorder = new KvRecorder();
  recorder.stored(stored("b", "a", 1));
  recorder.stored({ ...stored("b", "a", 1), group: 1 });
  recorder.stored({ ...stored("c", "b", 3), group: 1 });
  recorder.removed({ keys: ["c"], group: 1 });
  recorder.removed({ keys: ["b"], group: 0 });
  recorder.removed({ keys: ["b"], group: 1 });
  const events = recorder.drain()!.kvEvents.flatMap((event) =>
    "group" in event ? [[event.type, event.group, event.keys]] : []
  );
  assertEquals(events, [
    ["stored", 0, ["b"]],
    ["stored", 1, ["b", "c"]],
    ["removed", 1, ["c"]],
    ["removed", 0, ["b"]],
    ["removed", 1, ["b"]],
  ]);
});

Deno.test("KvRecorder names the request of a decision by its sequence, with the step", () => {
  const recorder = new KvRecorder();
  const sequenceId = 7;
  recorder.decided({ type: "queue", requestId: "r", sequenceId, index: 2, numTokens: 5 }, 0);
  recorder.decided({ type: "free", sequenceId, numBlocks: 3 }, 4);
  recorder.decided({ type: "free", sequenceId: 99, numBlocks: 1 }, 4);
  assertEquals(recorder.drain()?.decisions.slice(1), [
    { type: "free", sequenceId, numBlocks: 3, requestId: "r", index: 2, step: 4 },
    { type: "free", sequenceId: 99, numBlocks: 1, step: 4 },
  ]);
});

Deno.test("KvRecorder notes a wait once, until its reason changes or it is over", () => {
  const recorder = new KvRecorder();
  const numbers = { sequenceId: 1, numNeeded: 4, numFree: 0, numEvictable: 0 };
  const wait = (reason: "blocks" | "shared_prefix", step: number) =>
    recorder.decided({ type: "wait", reason, ...numbers, numFree: step }, step);
  recorder.decided({ type: "queue", requestId: "r", sequenceId: 1, index: 0, numTokens: 9 }, 0);
  wait("blocks", 0);
  wait("blocks", 1);
  wait("shared_prefix", 2);
  wait("blocks", 3);
  recorder.decided({ type: "admit", sequenceId: 1, numTokens: 9, numCachedTokens: 0 }, 4);
  wait("blocks", 5);
  const steps = recorder.drain()?.decisions.map(({ type, step }) => `${type} ${step}`);
  assertEquals(steps, ["queue 0", "wait 0", "wait 2", "wait 3", "admit 4", "wait 5"]);
});

Deno.test("KvRecorder forgets a sequence with its last decision, whose id may come back", () => {
  for (
    const last of [
      { type: "free", sequenceId: 4, numBlocks: 1 },
      { type: "end", sequenceId: 4, reason: "abort" },
    ] as const
  ) {
    const recorder = new KvRecorder();
    const queue = { type: "queue", sequenceId: 4, index: 0, numTokens: 2 } as const;
    recorder.decided({ ...queue, requestId: "r" }, 0);
    recorder.decided(last, 1);
    recorder.decided({ type: "allocate", sequenceId: 4, numBlocks: 1 }, 2);
    recorder.decided({ ...queue, requestId: "s" }, 3);
    const requests = recorder.drain()!.decisions.map(({ requestId }) => requestId);
    assertEquals(requests, ["r", "r", undefined, "s"]);
  }
});

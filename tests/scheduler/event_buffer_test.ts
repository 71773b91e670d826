import { assertEquals } from "@std/assert";
import { EventBuffer } from "../../src/scheduler/event_buffer.ts";
import { SampledSequence } from "../../src/scheduler/sampled_sequence.ts";
import { requestOf } from "../support/requests.ts";

function sequenceOf(requestId: string): SampledSequence {
  return new SampledSequence({ id: 0, requestId, index: 2 }, requestOf(requestId, 1).sequences[0]!);
}

Deno.test("EventBuffer says of each sequence once how much of its prompt was cached", () => {
  const events = new EventBuffer();
  const [a, b] = [sequenceOf("a"), sequenceOf("b")];
  b.numCachedTokens = 5;
  b.evicted = { numTokens: 8, agoMs: 30 };
  events.add(a, { token: 7 });
  events.add(b, { finishReason: "abort" });
  events.add(a, { token: 8, finishReason: "length" });
  assertEquals(events.drain(), [
    { requestId: "a", index: 2, token: 7, numCachedTokens: 0 },
    { requestId: "b", index: 2, finishReason: "abort", numCachedTokens: 5, evicted: b.evicted },
    { requestId: "a", index: 2, token: 8, finishReason: "length" },
  ]);
});

Deno.test("EventBuffer.drain() returns each event once", () => {
  const events = new EventBuffer();
  events.add(sequenceOf("a"), { token: 7 });
  assertEquals(events.drain().length, 1);
  assertEquals(events.drain(), []);
});

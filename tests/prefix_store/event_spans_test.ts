import { assertEquals } from "@std/assert";
import { EventSpans } from "../../src/prefix_store/event_spans.ts";

Deno.test("EventSpans.includes() tells the events of each stretch from those between", () => {
  const spans = new EventSpans();
  spans.open(2).until = 4;
  spans.open(4).until = 4;
  const last = spans.open(6);
  const answers = Array.from({ length: 8 }, (_, seq) => spans.includes(seq));
  assertEquals(answers, [false, false, true, true, false, false, true, true]);
  last.until = 9;
  assertEquals([spans.includes(8), spans.includes(9)], [true, false]);
});

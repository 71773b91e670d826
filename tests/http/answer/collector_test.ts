import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import type { TokenEvent } from "../../../src/core/token_event.ts";
import { Collector } from "../../../src/http/answer/collector.ts";
import { GenerationMeter } from "../../../src/http/metrics/generation_meter.ts";
import { SequenceText, type TextPiece } from "../../../src/http/answer/sequence_text.ts";
import { ServingMetrics } from "../../../src/http/metrics/serving_metrics.ts";
import { FakeEngine } from "../fake_engine.ts";
import { FakeStopStrings, FakeText } from "../fake_text.ts";

const text = new FakeText();

function setUp(steps: TokenEvent[][], numSequences: number, stops: string[] = []) {
  const metrics = new ServingMetrics(new FakeEngine(), "m");
  const texts = Array.from({ length: numSequences }, (_, index) =>
    new SequenceText({
      index,
      detokenizer: text.createDetokenizer(),
      stopStrings: new FakeStopStrings(stops),
      includeStop: false,
      namedStopTokenIds: new Set(),
    }));
  const aborted: (number | undefined)[] = [];
  const generation = {
    events: (async function* () {
      for (const step of steps) yield await Promise.resolve(step);
    })(),
    abort: (index?: number) => void aborted.push(index),
  };
  const shape = { promptLens: [10, 20], numSamples: numSequences / 2 };
  const collector = new Collector(shape, texts, new GenerationMeter(metrics, () => 0));
  return { collector, generation, aborted, metrics };
}

function token(index: number, token: number, rest: Partial<TokenEvent> = {}): TokenEvent {
  return { requestId: "r", index, token, ...rest };
}

async function drain(pieces: AsyncIterable<readonly TextPiece[]>): Promise<string[]> {
  const texts: string[] = [];
  for await (const step of pieces) {
    texts.push(step.map((one) => `${one.index}${one.text}`).join(" "));
  }
  return texts;
}

Deno.test("Collector yields the pieces of a step together and counts exactly", async () => {
  const { collector, generation } = setUp([
    [token(0, 65, { numCachedTokens: 8 }), token(1, 66, { numCachedTokens: 16 })],
    [token(0, 67, { finishReason: "length" })],
    [token(1, 68, { finishReason: "stop" })],
  ], 2);
  assertEquals(await drain(collector.pieces(generation)), ["0A 1B", "0C", "1"]);
  assertEquals(collector.usage(), {
    prompt_tokens: 30,
    completion_tokens: 4,
    total_tokens: 34,
    prompt_tokens_details: { cached_tokens: 24 },
  });
});

Deno.test("Collector counts a prompt's cached tokens once however many samples share it", async () => {
  const { collector, generation } = setUp([
    [0, 1, 2, 3].map((index) =>
      token(index, 65, { numCachedTokens: index === 0 ? 0 : 9, finishReason: "length" })
    ),
  ], 4);
  await drain(collector.pieces(generation));
  assertEquals(collector.usage().prompt_tokens_details.cached_tokens, 9);
});

Deno.test("Collector aborts a sequence at its stop string and drops what still comes of it", async () => {
  const { collector, generation, aborted } = setUp(
    [
      [token(0, 65), token(1, 65)],
      [token(0, 66), token(1, 67)],
      [token(0, 68), token(1, 69)],
      [
        { requestId: "r", index: 0, finishReason: "abort" },
        token(1, 70, { finishReason: "length" }),
      ],
    ],
    2,
    ["B"],
  );
  assertEquals(await drain(collector.pieces(generation)), ["0A 1A", "0 1C", "1E", "1F"]);
  assertEquals(aborted, [0]);
  assertEquals(collector.usage().completion_tokens, 6);
});

Deno.test("Collector ends as soon as every sequence has, without waiting for the engine", async () => {
  const { collector, generation } = setUp([[token(0, 66), token(1, 66)], [token(0, 1)]], 2, ["B"]);
  assertEquals(await drain(collector.pieces(generation)), ["0 1"]);
  assertEquals((await generation.events.next()).done, true);
});

Deno.test("Collector throws the engine's error with its status and counts the ends", async () => {
  const error = { status: 507, type: "t", code: "c", message: "No blocks left", param: null };
  const { collector, generation, metrics } = setUp([
    [token(0, 65, { finishReason: "length" })],
    [{ requestId: "r", index: 1, finishReason: "error", error }],
  ], 2);
  const thrown = await assertRejects(() => drain(collector.pieces(generation)), RequestError);
  assertEquals(thrown.data, error);
  const report = await metrics.text();
  assertStringIncludes(report, 'finished_reason="error",model_name="m",engine="0"} 1');
  assertStringIncludes(report, 'finished_reason="length",model_name="m",engine="0"} 1');
});

Deno.test("Collector counts a request that is left early as aborted", async () => {
  const { collector, generation, metrics } = setUp([[token(0, 65)], [token(0, 65)]], 2);
  for await (const _ of collector.pieces(generation)) break;
  const report = await metrics.text();
  assertStringIncludes(report, 'finished_reason="abort",model_name="m",engine="0"} 2');
});

Deno.test("Collector does not take an early end of events for an answer", async () => {
  const { collector, generation } = setUp([[token(0, 65)]], 2);
  await assertRejects(() => drain(collector.pieces(generation)), Error, "2 sequences unfinished");
});

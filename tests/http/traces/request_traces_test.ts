import { assertEquals } from "@std/assert";
import { NumberedLog } from "../../../src/base/numbered_log.ts";
import type { GenerationRequest } from "../../../src/core/generation.ts";
import type { LoggedDecision } from "../../../src/core/kv_decision.ts";
import { KvRecorder } from "../../../src/engine/kv_recorder.ts";
import { GenerationMeter } from "../../../src/http/metrics/generation_meter.ts";
import { RequestTraces } from "../../../src/http/traces/request_traces.ts";
import {
  describeSequenceTrace,
  phasesOf,
  sequenceTraceJson,
} from "../../../src/http/traces/sequence_trace.ts";
import { ServingMetrics } from "../../../src/http/metrics/serving_metrics.ts";
import { requestOf } from "../../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../../support/scheduler_rig.ts";
import { FakeEngine } from "../fake_engine.ts";

/** A scheduler whose decisions are traced, each at the time that the test says. */
class TracedRig {
  readonly engine = new FakeEngine();
  readonly metrics = new ServingMetrics(this.engine, "m");
  readonly rig: SchedulerRig;
  readonly meters = new Map<string, GenerationMeter>();
  nowMs = 0;
  readonly #recorder = new KvRecorder(() => this.nowMs);
  #numTaken = 0;

  constructor(options: RigOptions) {
    this.rig = new SchedulerRig({
      ...options,
      onDecision: (decision) => this.#recorder.decided(decision, this.rig.scheduler.numSteps),
    });
  }

  get traces(): RequestTraces {
    return this.metrics.requestTraces;
  }

  submit(request: GenerationRequest): void {
    const meter = new GenerationMeter(this.metrics, () => this.nowMs);
    this.rig.add(request);
    meter.accepted(request, { operation: "chat", model: "m" });
    this.meters.set(request.id, meter);
    this.#post();
  }

  /** A step that is planned now and done after `ms`. */
  step(ms: number): void {
    this.rig.step((batch) => {
      this.#recorder.planned(batch);
      this.nowMs += ms;
    });
    this.#post();
  }

  finish(ms: number): void {
    while (this.rig.scheduler.hasWork) this.step(ms);
  }

  /** As the client does: decisions before the events that they explain. */
  #post(): void {
    this.engine.decisions.append(this.#recorder.drain()?.decisions ?? []);
    for (const event of this.rig.events.slice(this.#numTaken)) {
      const meter = this.meters.get(event.requestId)!;
      meter.observeEvent(event);
      if (event.finishReason === undefined) continue;
      const numTokens = this.rig.tokensOf(event.requestId, event.index).length;
      meter.observeEnd({ index: event.index, numTokens, numPromptTokens: 4 }, event.finishReason);
    }
    this.#numTaken = this.rig.events.length;
  }
}

/** What a trace says, without times and steps. */
function wordsOf(traced: TracedRig, id: string): string[] {
  return describeSequenceTrace(traced.traces.of(id, 0)!, { namesOthers: true }).map((line) =>
    line.slice("+123456 ms  ".length)
  );
}

Deno.test("RequestTraces tells why a request waited, behind which, and what it computed", () => {
  const traced = new TracedRig({ numBlocks: 6, maxNumBatchedTokens: 3 });
  traced.submit(requestOf("a", 8, { maxTokens: 3 }));
  traced.step(10);
  traced.submit(requestOf("b", 6, { maxTokens: 1 }));
  traced.submit(requestOf("c", 2, { maxTokens: 1 }));
  traced.finish(10);
  assertEquals(wordsOf(traced, "a"), [
    "queues with 8 tokens",
    "is admitted with 8 tokens, 0 of them cached",
    "computes positions 0 to 2",
    "computes positions 3 to 5",
    "computes positions 6 to 7",
    "has its first token",
    "is finished (length)",
  ]);
  assertEquals(wordsOf(traced, "b"), [
    "queues with 6 tokens",
    "waits: all 3 tokens of the step are taken (--max-num-batched-tokens)",
    "waits: 3 blocks needed, 2 free, 0 evictable",
    "is admitted with 6 tokens, 0 of them cached",
    "computes positions 0 to 2",
    "computes positions 3 to 5",
    "has its first token",
    "is finished (length)",
  ]);
  assertEquals(wordsOf(traced, "c")[1], "waits: request b is the head of the queue of 2");
  const [, toOthers] = describeSequenceTrace(traced.traces.of("c", 0)!, { namesOthers: false });
  assertEquals(toOthers, "+     0 ms  waits: sequence 1 is the head of the queue of 2");
});

Deno.test("RequestTraces tells for which request another was preempted, and what it computed again", () => {
  const traced = new TracedRig({ numBlocks: 4 });
  traced.submit(requestOf("a", 4, { maxTokens: 3 }));
  traced.submit(requestOf("b", 3, { maxTokens: 4 }));
  traced.finish(10);
  assertEquals(wordsOf(traced, "b"), [
    "queues with 3 tokens",
    "is admitted with 3 tokens, 0 of them cached",
    "computes positions 0 to 2",
    "has its first token",
    "is preempted and gives 2 blocks back: request a needs blocks",
    "waits: 2 blocks needed, 1 free, 0 evictable",
    "is admitted with 4 tokens, 0 of them cached",
    "computes positions 0 to 3",
    "is finished (length)",
  ]);
  const { numPreemptions, numChunks, numChunkTokens, finishReason } = traced.traces.of("b", 0)!;
  assertEquals({ numPreemptions, numChunks, numChunkTokens, finishReason }, {
    ...{ numPreemptions: 1, numChunks: 2, numChunkTokens: 7, finishReason: "length" },
  });
});

Deno.test("RequestTraces tells of every other cause of a preemption", () => {
  const traced = new TracedRig({ maxNumSeqs: 1, schedulingPolicy: "priority" });
  traced.submit(requestOf("a", 3, { maxTokens: 9 }));
  traced.step(10);
  traced.submit({ ...requestOf("b", 3, { maxTokens: 9 }), requestPriority: 1 });
  traced.step(10);
  traced.rig.scheduler.resetPrefixCache(true);
  traced.finish(10);
  const preemptionsOf = (id: string) =>
    wordsOf(traced, id).filter((words) => words.startsWith("is preempted"));
  assertEquals(preemptionsOf("a"), [
    "is preempted and gives 2 blocks back: request b outranks it",
  ]);
  assertEquals(preemptionsOf("b"), [
    "is preempted and gives 2 blocks back: the prefix cache is reset",
  ]);

  const short = new TracedRig({ shortContextLen: 4, prefixCache: {} });
  short.submit(requestOf("c", 3, { maxTokens: 4 }));
  short.finish(10);
  assertEquals(wordsOf(short, "c").filter((words) => words.startsWith("is preempted")), [
    "is preempted and gives 2 blocks back: it has outgrown a short context",
  ]);

  const tight = new TracedRig({ numBlocks: 4 });
  tight.submit(requestOf("d", 3, { maxTokens: 4 }));
  tight.submit(requestOf("e", 4, { maxTokens: 2 }));
  tight.finish(10);
  assertEquals(wordsOf(tight, "e").filter((words) => words.startsWith("is preempted")), [
    "is preempted and gives 2 blocks back: it needs more than are free",
  ]);
});

/** Sum and count of a histogram, without labels. */
async function histogram({ metrics }: TracedRig, name: string): Promise<[number, number]> {
  const text = await metrics.text();
  const value = (part: string) =>
    Number(new RegExp(`^vllm:${name}_${part}\\{.*\\} (\\S+)$`, "m").exec(text)![1]);
  return [value("sum"), value("count")];
}

Deno.test("ServingMetrics makes the times of queue, prefill, decode and inference of the traces", async () => {
  const traced = new TracedRig({ maxNumSeqs: 1 });
  traced.submit(requestOf("a", 4, { maxTokens: 3 }));
  traced.nowMs = 500;
  traced.step(2000);
  traced.submit(requestOf("b", 4, { maxTokens: 1 }));
  traced.step(250);
  traced.step(250);
  traced.step(400);
  assertEquals(phasesOf(traced.traces.of("a", 0)!), {
    ...{ queueMs: 500, prefillMs: 2000, decodeMs: 500 },
  });
  assertEquals(phasesOf(traced.traces.of("b", 0)!), {
    ...{ queueMs: 500, prefillMs: 400, decodeMs: 0 },
  });
  const names = {
    request_queue_time_seconds: [1, 2],
    request_prefill_time_seconds: [2.4, 2],
    request_decode_time_seconds: [0.5, 2],
    request_inference_time_seconds: [2.9, 2],
    request_time_per_output_token_seconds: [0.25, 1],
    time_to_first_token_seconds: [2.5 + 0.9, 2],
    e2e_request_latency_seconds: [3 + 0.9, 2],
    request_prompt_tokens: [8, 2],
    request_prefill_kv_computed_tokens: [8, 2],
    request_generation_tokens: [4, 2],
    request_params_max_tokens: [4, 2],
  };
  for (const [name, expected] of Object.entries(names)) {
    assertEquals([name, await histogram(traced, name)], [name, expected]);
  }
});

Deno.test("ServingMetrics counts no part that a sequence has not come through", async () => {
  const traced = new TracedRig({ maxNumSeqs: 1 });
  traced.submit(requestOf("a", 4, { maxTokens: 2 }));
  traced.submit(requestOf("b", 4, { maxTokens: 2 }));
  traced.step(100);
  traced.rig.scheduler.abort("b");
  traced.step(100);
  assertEquals(traced.traces.of("b", 0)?.finishReason, "abort");
  assertEquals(traced.traces.of("b", 0)?.state, "finished");
  assertEquals((await histogram(traced, "request_queue_time_seconds"))[1], 1);
  assertEquals((await histogram(traced, "request_decode_time_seconds"))[1], 1);
  assertEquals((await histogram(traced, "e2e_request_latency_seconds"))[1], 2);
});

Deno.test("RequestTraces keeps the first and the latest marks of a long way, and all counts", () => {
  const log = new NumberedLog<LoggedDecision>(1000);
  const traces = new RequestTraces(log);
  const chunk = (start: number) =>
    ({
      type: "chunk",
      sequenceId: 1,
      start,
      count: 2,
      requestId: "r",
      index: 0,
      step: start,
    }) as const;
  log.append(Array.from({ length: 100 }, (_, i) => chunk(2 * i)));
  const trace = traces.of("r", 0)!;
  assertEquals([trace.numChunks, trace.numChunkTokens, trace.numLeftOut], [100, 200, 36]);
  assertEquals(trace.marks.map(({ step }) => step / 2), [
    ...Array.from({ length: 32 }, (_, i) => i),
    ...Array.from({ length: 32 }, (_, i) => 68 + i),
  ]);
  assertEquals(describeSequenceTrace(trace, { namesOthers: true })[32], "... 36 more ...");
});

Deno.test("RequestTraces forgets the oldest requests, and never the only one", () => {
  const log = new NumberedLog<LoggedDecision>(1000);
  const traces = new RequestTraces(log, 3);
  const queue = (requestId: string, index: number) =>
    ({ type: "queue", requestId, index, sequenceId: index, numTokens: 1, step: 0 }) as const;
  log.append([queue("a", 0), queue("a", 1), queue("b", 0)]);
  const sizes = () => ["a", "b", "c"].map((id) => traces.ofRequest(id).length);
  assertEquals(sizes(), [2, 1, 0]);
  log.append([queue("c", 0)]);
  assertEquals(sizes(), [0, 1, 1]);
  log.append(Array.from({ length: 5 }, (_, index) => queue("c", index)));
  assertEquals(sizes(), [0, 0, 5]);
});

Deno.test("RequestTraces goes on with a request whose engine was lost", () => {
  const log = new NumberedLog<LoggedDecision>(1000);
  const traces = new RequestTraces(log);
  const mark = { requestId: "r", index: 0, step: 0 };
  const first = { ...mark, sequenceId: 7 };
  log.append([
    { ...first, type: "queue", numTokens: 3, timeMs: 1000 },
    { ...first, type: "admit", numTokens: 3, numCachedTokens: 2, timeMs: 1100 },
    { ...first, type: "first_token", timeMs: 1200 },
    { ...mark, sequenceId: 0, type: "queue", numTokens: 5, numResumed: 2, timeMs: 3000 },
  ]);
  assertEquals(traces.of("r", 0)?.state, "waiting");
  log.append([
    { ...mark, sequenceId: 0, type: "admit", numTokens: 5, numCachedTokens: 0, timeMs: 3100 },
    { ...mark, sequenceId: 0, type: "finish", reason: "stop", timeMs: 4200 },
  ]);
  const { lines, ...told } = sequenceTraceJson(traces.of("r", 0)!, { namesOthers: false });
  assertEquals([told.state, told.queue_ms, told.prefill_ms, told.decode_ms, told.cached_tokens], [
    ...["finished", 100, 100, 3000, 2],
  ]);
  assertEquals((lines as string[]).length, 6);
});

Deno.test("RequestTraces gives the answers of a search one record, and none a negative time", () => {
  const log = new NumberedLog<LoggedDecision>(1000);
  const traces = new RequestTraces(log);
  const mark = { requestId: "r", sequenceId: 1, step: 0 };
  log.append([
    { ...mark, type: "queue", index: 2, numTokens: 3, timeMs: 9000 },
    { ...mark, type: "admit", index: 2, numTokens: 3, numCachedTokens: 1, timeMs: 8000 },
    { ...mark, type: "first_token", index: 3, timeMs: 8500 },
    { ...mark, type: "finish", index: 2, reason: "stop", timeMs: 8700 },
    { ...mark, type: "finish", index: 3, reason: "stop", timeMs: 8700 },
  ]);
  assertEquals(traces.ofRequest("r").length, 1);
  assertEquals([traces.of("r", 1), traces.of("r", 3)?.index], [undefined, 2]);
  assertEquals(sequenceTraceJson(traces.of("r", 3)!, { namesOthers: false }), {
    index: 2,
    state: "finished",
    queue_ms: 0,
    prefill_ms: 500,
    decode_ms: 200,
    cached_tokens: 1,
    chunks: 0,
    chunk_tokens: 0,
    preemptions: 0,
    finish_reason: "stop",
    lines: [
      "+     0 ms  queues with 3 tokens",
      "+     0 ms  is admitted with 3 tokens, 1 of them cached",
      "+     0 ms  has its first token",
      "+     0 ms  is finished (stop)",
    ],
  });
});

import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { ServingMetrics } from "../../../src/http/metrics/serving_metrics.ts";
import { FakeEngine, INFO } from "../fake_engine.ts";
import { FakeGrammars } from "../fake_grammars.ts";
import { FakeText } from "../fake_text.ts";
import { CHAT, testServer } from "../server.ts";

const LABELS = 'model_name="m",engine="0"';

Deno.test("ServingMetrics names and describes every metric as vLLM does", async () => {
  const text = await new ServingMetrics(new FakeEngine(), "m").text();
  const types = Object.fromEntries(
    [...text.matchAll(/^# TYPE vllm:(\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]),
  );
  assertEquals(types, {
    num_requests_running: "gauge",
    num_requests_waiting: "gauge",
    num_requests_swapped: "gauge",
    num_requests_waiting_by_reason: "gauge",
    kv_cache_usage_perc: "gauge",
    cache_config_info: "gauge",
    num_preemptions_total: "counter",
    kv_offload_total_bytes_total: "counter",
    corrupted_requests_total: "counter",
    prefix_cache_queries_total: "counter",
    prefix_cache_hits_total: "counter",
    prompt_tokens_total: "counter",
    prompt_tokens_cached_total: "counter",
    prompt_tokens_by_source_total: "counter",
    generation_tokens_total: "counter",
    request_success_total: "counter",
    time_to_first_token_seconds: "histogram",
    inter_token_latency_seconds: "histogram",
    request_time_per_output_token_seconds: "histogram",
    e2e_request_latency_seconds: "histogram",
    request_queue_time_seconds: "histogram",
    request_prefill_time_seconds: "histogram",
    request_decode_time_seconds: "histogram",
    request_inference_time_seconds: "histogram",
    request_prompt_tokens: "histogram",
    request_prefill_kv_computed_tokens: "histogram",
    request_generation_tokens: "histogram",
    request_max_num_generation_tokens: "histogram",
    request_params_max_tokens: "histogram",
    request_params_n: "histogram",
    iteration_tokens_total: "histogram",
  });
  for (const name of Object.keys(types)) {
    assertMatch(text, new RegExp(`^# HELP vllm:${name} .`, "m"));
  }
});

Deno.test("ServingMetrics reads gauges from the engine at each scrape", async () => {
  const engine = new FakeEngine();
  const metrics = new ServingMetrics(engine, "m");
  engine.stats = {
    ...engine.stats,
    numRunning: 3,
    numWaiting: 2,
    numDeferred: 1,
    numBlocks: 8,
    numFreeBlocks: 1,
    numCachedBlocks: 1,
    numPreemptions: 5,
    numPromptTokens: 11,
    numCachedPromptTokens: 4,
    numCorrupted: 1,
    numStepTokens: 77,
    numGeneratedTokens: 3,
    numQueriedTokens: 700,
    numHitTokens: 320,
    numEvictedBlocks: 9,
    numPoolGrowths: 4,
    numPoolResizes: 2,
    numShrinkEvictedBlocks: 3,
    numSteps: 11,
    stepMs: 2500,
    hostMs: 125,
    overlappedMs: 50,
  };
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await metrics.text();
    assertStringIncludes(text, `vllm:num_requests_running{${LABELS}} 3\n`);
    assertStringIncludes(text, `vllm:num_requests_waiting{${LABELS}} 2\n`);
    for (const reason of ["capacity", "deferred"]) {
      assertStringIncludes(text, `waiting_by_reason{reason="${reason}",${LABELS}} 1\n`);
    }
    for (const [source, count] of [["local_compute", 7], ["local_cache_hit", 4]]) {
      assertStringIncludes(text, `by_source_total{source="${source}",${LABELS}} ${count}\n`);
    }
    assertStringIncludes(text, `vllm:prompt_tokens_cached_total{${LABELS}} 4\n`);
    assertStringIncludes(text, `vllm:corrupted_requests_total{${LABELS}} 1\n`);
    assertStringIncludes(text, `quire:step_tokens_total{${LABELS}} 77\n`);
    assertStringIncludes(text, `vllm:kv_cache_usage_perc{${LABELS}} 0.75\n`);
    assertStringIncludes(text, `vllm:num_preemptions_total{${LABELS}} 5\n`);
    assertStringIncludes(text, `vllm:prompt_tokens_total{${LABELS}} 11\n`);
    assertStringIncludes(text, `vllm:generation_tokens_total{${LABELS}} 3\n`);
    assertStringIncludes(text, `vllm:prefix_cache_queries_total{${LABELS}} 700\n`);
    assertStringIncludes(text, `vllm:prefix_cache_hits_total{${LABELS}} 320\n`);
    assertStringIncludes(text, `total{reason="allocation",${LABELS}} 6\n`);
    assertStringIncludes(text, `total{reason="resize",${LABELS}} 3\n`);
    assertStringIncludes(text, `quire:kv_pool_growths_total{${LABELS}} 4\n`);
    assertStringIncludes(text, `quire:kv_pool_resizes_total{${LABELS}} 2\n`);
    assertStringIncludes(text, `quire:steps_total{${LABELS}} 11\n`);
    assertStringIncludes(text, `quire:step_seconds_total{${LABELS}} 2.5\n`);
    assertStringIncludes(text, `quire:host_seconds_total{${LABELS}} 0.125\n`);
    assertStringIncludes(text, `quire:overlapped_host_seconds_total{${LABELS}} 0.05\n`);
    for (const [memory, rate] of [["0.5x", 0.25], ["infinite", 0.75]]) {
      const labels = `memory="${memory}",${LABELS}`;
      assertStringIncludes(text, `quire:prefix_hit_rate_estimate{${labels}} ${rate}\n`);
    }
    for (const [state, count] of [["in_use", 6], ["cached", 1], ["free", 1]]) {
      assertStringIncludes(text, `quire:kv_blocks{state="${state}",${LABELS}} ${count}\n`);
    }
  }
});

Deno.test("ServingMetrics describes the pool once the engine is known, and only the current one", async () => {
  const engine = new FakeEngine();
  engine.info = undefined;
  engine.stats = { ...engine.stats, numBlocks: 0, numFreeBlocks: 0 };
  const metrics = new ServingMetrics(engine, "m");
  const text = await metrics.text();
  assertEquals(text.includes("vllm:cache_config_info{"), false);
  assertStringIncludes(text, `vllm:kv_cache_usage_perc{${LABELS}} 0\n`);
  engine.info = INFO;
  await metrics.text();
  engine.info = { ...INFO, numBlocks: 99 };
  const later = await metrics.text();
  assertEquals(later.match(/^vllm:cache_config_info\{/gm)?.length, 1);
  assertStringIncludes(
    later,
    `vllm:cache_config_info{block_size="16",num_gpu_blocks="99",cache_dtype="f16",${LABELS}} 1`,
  );
});

Deno.test("ServingMetrics sorts ends and times into vLLM's buckets", async () => {
  const metrics = new ServingMetrics(new FakeEngine(), "m");
  metrics.observeFirstToken(0.05);
  metrics.observeNextToken(0.02);
  metrics.observeNextToken(0.3);
  metrics.observeFinish({
    index: 0,
    reason: "length",
    numPromptTokens: 11,
    numGeneratedTokens: 3,
    seconds: 0.6,
    maxTokens: 16,
  });
  metrics.observePrompt({ numSamples: 3, numTokens: 6 });
  metrics.observeStep(5);
  metrics.observeStep(16385);
  const text = await metrics.text();
  const lines = [
    `vllm:request_success_total{finished_reason="length",${LABELS}} 1`,
    `vllm:request_success_total{finished_reason="abort",${LABELS}} 0`,
    `vllm:time_to_first_token_seconds_bucket{le="0.04",${LABELS}} 0`,
    `vllm:time_to_first_token_seconds_bucket{le="0.06",${LABELS}} 1`,
    `vllm:inter_token_latency_seconds_bucket{le="0.025",${LABELS}} 1`,
    `vllm:inter_token_latency_seconds_count{${LABELS}} 2`,
    `vllm:e2e_request_latency_seconds_bucket{le="0.5",${LABELS}} 0`,
    `vllm:e2e_request_latency_seconds_bucket{le="0.8",${LABELS}} 1`,
    `vllm:request_prompt_tokens_bucket{le="20",${LABELS}} 1`,
    `vllm:request_generation_tokens_bucket{le="2",${LABELS}} 0`,
    `vllm:request_generation_tokens_bucket{le="5",${LABELS}} 1`,
    `vllm:request_params_max_tokens_bucket{le="10",${LABELS}} 0`,
    `vllm:request_params_max_tokens_bucket{le="20",${LABELS}} 1`,
    `vllm:request_params_n_bucket{le="2",${LABELS}} 0`,
    `vllm:request_params_n_bucket{le="5",${LABELS}} 1`,
    `vllm:request_max_num_generation_tokens_bucket{le="5",${LABELS}} 0`,
    `vllm:request_max_num_generation_tokens_bucket{le="10",${LABELS}} 1`,
    `vllm:iteration_tokens_total_bucket{le="1",${LABELS}} 0`,
    `vllm:iteration_tokens_total_bucket{le="8",${LABELS}} 1`,
    `vllm:iteration_tokens_total_bucket{le="16384",${LABELS}} 1`,
    `vllm:iteration_tokens_total_count{${LABELS}} 2`,
  ];
  for (const line of lines) assertStringIncludes(text, `${line}\n`);
});

Deno.test("ServingMetrics shows the engine's state as one of all that there are", async () => {
  const engine = new FakeEngine();
  const metrics = new ServingMetrics(engine, "m");
  for (const now of ["starting", "restarting", "failed", "ready", "draining"] as const) {
    engine.state = now;
    const text = await metrics.text();
    const values = [...text.matchAll(/^quire:engine_state\{state="(\w+)".*\} (\d)$/gm)];
    assertEquals(values.filter(([, , value]) => value === "1").map(([, state]) => state), [now]);
    assertEquals(values.length, 5);
  }
});

Deno.test("ServingMetrics tells of an engine that does not get on, and of what requests wait for", async () => {
  const engine = new FakeEngine();
  const metrics = new ServingMetrics(engine, "m");
  const line = (name: string, value: number, label = "") =>
    `quire:${name}{${label}${LABELS}} ${value}\n`;
  assertStringIncludes(await metrics.text(), line("engine_stalled_seconds", 0));
  engine.stall = { seconds: 31, reason: "the device computes" };
  engine.numStalls = 2;
  const text = await metrics.prepare("grammar", () => metrics.text());
  assertStringIncludes(text, line("engine_stalled_seconds", 31));
  assertStringIncludes(text, line("engine_stalls_total", 2));
  assertStringIncludes(text, line("requests_preparing", 1, 'stage="grammar",'));
  assertStringIncludes(text, line("requests_preparing", 0, 'stage="tokenize",'));
  await assertRejects(() => metrics.prepare("tokenize", () => Promise.reject(new Error("no"))));
  for (const stage of ["grammar", "tokenize"]) {
    assertStringIncludes(await metrics.text(), line("requests_preparing", 0, `stage="${stage}",`));
  }
});

Deno.test("ServingMetrics answers while the engine does not", async () => {
  const engine = new FakeEngine();
  engine.command = () => new Promise(() => {});
  const text = await new ServingMetrics(engine, "m").text();
  assertStringIncludes(text, 'quire:engine_state{state="ready"');
  assertEquals(text.includes("quire:prefix_hit_rate_estimate{"), false);
});

/** A server in which requests of one stage of their preparation wait until they are let on. */
function heldServer(held: "grammar" | "tokenize") {
  const { promise, resolve } = Promise.withResolvers<void>();
  const grammars = new FakeGrammars();
  const text = new FakeText();
  const wait = async (stage: typeof held) => await (stage === held ? promise : undefined);
  const server = testServer({
    grammars: {
      compile: async (...asked) => {
        await wait("grammar");
        return await grammars.compile(...asked);
      },
    },
    text: Object.assign(new FakeText(), {
      encode: async (...asked: Parameters<FakeText["encode"]>) => {
        await wait("tokenize");
        return await text.encode(...asked);
      },
      encodeChat: async (...asked: Parameters<FakeText["encodeChat"]>) => {
        await wait("tokenize");
        return await text.encodeChat(...asked);
      },
    }),
  });
  server.engine.info = { ...INFO, maxModelLen: 1024 };
  return { server, letOn: resolve };
}

Deno.test("/metrics counts the requests that wait for a grammar, or for token ids", async () => {
  const asked: [string, object, readonly ("grammar" | "tokenize")[]][] = [
    [
      "/v1/chat/completions",
      { ...CHAT, response_format: { type: "json_object" } },
      ["tokenize", "grammar"],
    ],
    [
      "/v1/completions",
      { prompt: "Hi", response_format: { type: "json_object" } },
      ["tokenize", "grammar"],
    ],
    ["/api/generate", { prompt: "Hi", raw: true, format: "json" }, ["tokenize", "grammar"]],
    ["/v1/embeddings", { input: "Hi" }, ["tokenize"]],
    ["/api/embed", { input: ["Hi"] }, ["tokenize"]],
    ["/v1/rerank", { query: "q", documents: ["a"] }, ["tokenize"]],
  ];
  for (const [path, body, stages] of asked) {
    for (const stage of stages) {
      const { server, letOn } = heldServer(stage);
      const preparing = async () => {
        const lines = await (await server.request("/metrics")).text();
        return [...lines.matchAll(/^quire:requests_preparing\{stage="(\w+)".*\} (\d)$/gm)]
          .filter(([, , count]) => count === "1").map(([, name]) => name);
      };
      const answered = server.post(path, { model: "quire/test", ...body });
      for (let i = 0; i < 50; i++) await Promise.resolve();
      assertEquals(await preparing(), [stage], path);
      letOn();
      const { status, body: rest } = await answered;
      await rest?.cancel();
      assertEquals(status, 200, path);
      assertEquals(await preparing(), [], path);
    }
  }
});

import { assert, assertEquals } from "@std/assert";
import { ServerProcess } from "../support/server_process.ts";

/** One sample of an exposition. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An exposition as Prometheus reads it: types by name, and samples. */
function parseExposition(text: string) {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, n, t]) => [n!, t!]));
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
    .map((line): Sample => {
      const match = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      assert(match !== null, line);
      const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)/g)];
      return {
        name: match[1]!,
        labels: Object.fromEntries(labels.map(([, name, value]) => [name!, value!])),
        value: Number(match[3]),
      };
    });
  const sum = (name: string, wanted: Record<string, string> = {}) =>
    samples.filter((sample) =>
      sample.name === name &&
      Object.entries(wanted).every(([label, value]) => sample.labels[label] === value)
    ).reduce((total, { value }) => total + value, 0);
  return { types, samples, sum };
}

Deno.test("/metrics of a server at work adds up", async () => {
  using server = await ServerProcess.start(["--device", "cpu", "--max-num-seqs", "2"]);
  const complete = async (body: object) => {
    const response = await server.post("/v1/completions", { prompt: "Once upon a time", ...body });
    assertEquals(response.status, 200);
    return await response.json();
  };
  const fixed = { max_tokens: 5, ignore_eos: true };
  const answers = await Promise.all([
    complete({ ...fixed, n: 3, temperature: 1, seed: 1 }),
    complete({ ...fixed, prompt: "A fox and a lantern went through the wood, and" }),
    complete({ max_tokens: 40, stop: [" "] }),
  ]);
  await complete({ ...fixed, max_tokens: 1 });
  await server.idle();
  const { types, samples, sum } = parseExposition(await (await server.fetch("/metrics")).text());
  await server.stop();

  const usages = answers.map(({ usage }) => usage);
  const numGenerated = usages.reduce(
    (total, { completion_tokens }) => total + completion_tokens,
    1,
  );
  const numSequences = 3 + 1 + 1 + 1;
  assertEquals(sum("vllm:request_success_total"), numSequences);
  assertEquals(sum("vllm:request_success_total", { finished_reason: "stop" }), 1);
  assertEquals(sum("vllm:request_generation_tokens_sum"), numGenerated);
  for (
    const [name, count] of Object.entries({
      request_queue_time_seconds: numSequences,
      request_prefill_time_seconds: numSequences,
      request_decode_time_seconds: numSequences,
      request_inference_time_seconds: numSequences,
      e2e_request_latency_seconds: numSequences,
      time_to_first_token_seconds: numSequences,
      inter_token_latency_seconds: numGenerated - numSequences,
      request_prompt_tokens: numSequences,
      request_prefill_kv_computed_tokens: numSequences,
      request_params_max_tokens: numSequences,
      request_params_n: 4,
      request_max_num_generation_tokens: 4,
      iteration_tokens_total: sum("quire:steps_total"),
    })
  ) assertEquals([name, sum(`vllm:${name}_count`)], [name, count]);
  assertEquals(sum("vllm:request_params_n_sum"), 6);
  assertEquals(sum("vllm:iteration_tokens_total_sum"), sum("quire:step_tokens_total"));
  assert(sum("quire:step_tokens_total") >= numGenerated);
  assert(sum("vllm:request_inference_time_seconds_sum") > 0);
  assert(sum("vllm:e2e_request_latency_seconds_sum") > 0);
  assertEquals(sum("vllm:prompt_tokens_by_source_total"), sum("vllm:prompt_tokens_total"));
  assert(sum("vllm:prompt_tokens_cached_total") > 0, "samples share their prompt");
  assertEquals(
    sum("vllm:num_requests_waiting_by_reason"),
    sum("vllm:num_requests_waiting"),
  );

  const histograms = [...types].filter(([, type]) => type === "histogram").map(([name]) => name);
  assert(histograms.length >= 15, `${histograms}`);
  for (const name of histograms) {
    const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
    assertEquals(buckets.map(({ value }) => value).toSorted((a, b) => a - b), [
      ...buckets.map(({ value }) => value),
    ], `${name} is cumulative`);
    assertEquals(buckets.at(-1)!.labels.le, "+Inf");
    assertEquals(buckets.at(-1)!.value, sum(`${name}_count`));
  }
  assertEquals(samples.filter(({ value }) => !Number.isFinite(value)), []);
});

import { assertStringIncludes } from "@std/assert";
import { GenerationMeter } from "../../../src/http/metrics/generation_meter.ts";
import { ServingMetrics } from "../../../src/http/metrics/serving_metrics.ts";
import { FakeEngine } from "../fake_engine.ts";

Deno.test("GenerationMeter times first tokens from the arrival and others from the one before", async () => {
  const metrics = new ServingMetrics(new FakeEngine(), "m");
  let now = 1000;
  const meter = new GenerationMeter(metrics, () => now);
  const event = { requestId: "r", token: 5 };
  now = 1500;
  meter.observeEvent({ ...event, index: 0 });
  now = 2000;
  meter.observeEvent({ ...event, index: 0 });
  meter.observeEvent({ ...event, index: 1 });
  meter.observeEvent({ requestId: "r", index: 1, finishReason: "abort" });
  now = 3000;
  meter.observeEnd({ index: 0, numTokens: 2, numPromptTokens: 7 }, "stop");
  meter.observeEnd({ index: 1, numTokens: 1, numPromptTokens: 7 }, "abort");

  const text = await metrics.text();
  const expected = {
    "time_to_first_token_seconds_sum": 1.5,
    "time_to_first_token_seconds_count": 2,
    "inter_token_latency_seconds_sum": 0.5,
    "inter_token_latency_seconds_count": 1,
    "e2e_request_latency_seconds_sum": 4,
    "request_generation_tokens_sum": 3,
  };
  for (const [name, value] of Object.entries(expected)) {
    assertStringIncludes(text, `vllm:${name}{model_name="m",engine="0"} ${value}\n`);
  }
  assertStringIncludes(text, 'finished_reason="abort",model_name="m",engine="0"} 1\n');
});

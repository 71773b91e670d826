import { assert, assertEquals, assertMatch } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { EngineClient } from "../../src/engine/client.ts";
import { EngineThread } from "../../src/engine/engine_thread.ts";
import { GrammarService } from "../../src/grammar/grammar_service.ts";
import { ServingMetrics } from "../../src/http/metrics/serving_metrics.ts";
import { StopStrings } from "../../src/tokenizer/stop_strings.ts";
import { loadTextService } from "../../src/tokenizer/text_service.ts";
import { readEvents, testServer } from "../http/server.ts";
import { gpuTest } from "../support/agreement.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";

const CONFIG: EngineConfig = {
  modelDir: DEMO_DIR,
  device: "webgpu",
  blockSize: 16,
  kvCacheDtype: "f16",
  autotune: "off",
  enablePrefixCaching: true,
  numBlocksOverride: 128,
  maxModelLen: 512,
  maxNumSeqs: 16,
  maxNumBatchedTokens: 512,
  maxNumQueuedSeqs: 64,
};

const SCHEMA = {
  type: "object",
  properties: { name: { enum: ["Lily", "Tom"] }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

/** One of each kind, all under way at once; the search ends between two losses. */
const REQUESTS: readonly Readonly<Record<string, unknown>>[] = [
  { prompt: "Once upon a time", temperature: 0, max_tokens: 40, logprobs: 2 },
  { prompt: "The fox and the lantern", temperature: 0.9, seed: 7, max_tokens: 40 },
  { prompt: "Once upon a time", temperature: 0.8, seed: 3, n: 2, max_tokens: 30 },
  { prompt: "One day", temperature: 0, max_tokens: 40, response_format: jsonSchema(SCHEMA) },
  { prompt: "Tom had a red ball", temperature: 0, max_tokens: 40, stop: [" the ", "She"] },
  { prompt: "A little girl", temperature: 0.5, seed: 1, repetition_penalty: 1.3, max_tokens: 40 },
  { prompt: "Once upon a time", temperature: 0, use_beam_search: true, n: 2, max_tokens: 6 },
];

function jsonSchema(schema: object) {
  return { type: "json_schema", json_schema: { name: "person", schema } };
}

/** Serves the requests by engines that are lost in these of their steps, and then by one that lives. */
async function serve(lossSteps: readonly number[]) {
  const left = [...lossSteps];
  const client = new EngineClient({
    restart: { initialDelayMs: 1 },
    spawn: () => {
      const step = left.shift() ?? 0;
      return new EngineThread(new URL(`./lossy_worker.ts?step=${step}`, import.meta.url));
    },
    onFailure: ({ reason }) => reasons.push(reason),
  });
  const reasons: string[] = [];
  const text = await loadTextService(DEMO_DIR);
  const grammars = new GrammarService(DEMO_DIR);
  const server = testServer({
    engine: client,
    text,
    grammars,
    createStopStrings: (stops) => new StopStrings(stops),
    metrics: new ServingMetrics(client, "quire/test"),
  });
  await client.start(CONFIG);
  const answers = await Promise.all(REQUESTS.map(async (request) => {
    let response = await server.post("/v1/completions", { ...request, stream: true });
    // One that comes while there is no engine, after its schema was compiled, comes again.
    while (response.status === 503) {
      await response.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 20));
      response = await server.post("/v1/completions", { ...request, stream: true });
    }
    const events = await readEvents(response);
    return events.map((event) => event === "[DONE]" ? event : event.error ?? event.choices);
  }));
  const { numLosses, numResumedRequests } = client.stats;
  await client.drain(10_000);
  client.close();
  text.close();
  grammars.close();
  return { answers, reasons, numLosses, numResumedRequests };
}

gpuTest("a WebGPU device is destroyed three times: every stream has the same events", async () => {
  const calm = await serve([]);
  assertEquals([calm.numLosses, calm.reasons], [0, []]);
  const struck = await serve([9, 12, 8]);
  assertEquals([struck.numLosses, struck.reasons.length], [3, 3]);
  for (const reason of struck.reasons) assertMatch(reason, /GPU device lost \(destroyed\)/);
  assert(struck.numResumedRequests >= 3 * 4);
  struck.answers.forEach((answer, i) => assertEquals(answer, calm.answers[i], `request ${i}`));
});

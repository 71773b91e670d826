import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import type { EngineConfig, EngineInfo } from "../../src/core/engine_config.ts";
import { EngineClient } from "../../src/engine/client.ts";
import type { EngineFailure } from "../../src/engine/client_options.ts";
import { ServingMetrics } from "../../src/http/metrics/serving_metrics.ts";
import { readEvents, testServer } from "../http/server.ts";
import { FakeMatchers } from "../support/fake_matchers.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";
import { PagedFakeRunner } from "../support/paged_fake_runner.ts";
import { type Loss, type LossKind, SessionWorker } from "../support/session_worker.ts";

const NUM_LOSSES = 100;
const NUM_REQUESTS = 800;
const NUM_CLIENTS = 24;

const INFO: EngineInfo = {
  ...FAKE_INFO,
  vocabSize: 264,
  maxModelLen: 256,
  blockSize: 4,
  numBlocks: 1024,
  maxNumBlocks: 1024,
  maxNumSeqs: 32,
  // One step computes all that is kept again.
  maxNumBatchedTokens: 8192,
};

const CONFIG: EngineConfig = {
  modelDir: "fake",
  device: "cpu",
  blockSize: INFO.blockSize,
  numBlocksOverride: INFO.numBlocks,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: INFO.maxNumSeqs,
  maxNumBatchedTokens: INFO.maxNumBatchedTokens,
  maxNumQueuedSeqs: 128,
};

/** A request, and after how many events of its stream its client leaves. */
interface Planned {
  readonly body: Readonly<Record<string, unknown>>;
  readonly leavesAfter?: number;
}

/** Uniform in `[low, high)`. */
type Pick = (low: number, high: number) => number;

function picker(seed: number): Pick {
  const random = new SeededRandom(seed);
  return (low, high) => low + Math.floor(random.uniform() * (high - low));
}

/** Ways to draw, in turn. */
const DRAWINGS: readonly object[] = [
  { temperature: 0 },
  { temperature: 1 },
  { temperature: 0.8, n: 3, frequency_penalty: 0.5 },
  { temperature: 0, structured_outputs: { regex: "a|b" } },
  { temperature: 1, stop: [String.fromCharCode(3, 4), "\u0007"] },
  { temperature: 0, repetition_penalty: 1.5, min_tokens: 5, stop_token_ids: [6] },
];

/** Prompts that begin alike in part, and ways to draw. */
function plan(seed: number): Planned[] {
  const pick = picker(seed);
  return Array.from({ length: NUM_REQUESTS }, (_, i) => {
    const prompt = `${"shared ".repeat(pick(0, 4))}prompt ${i} ${"x".repeat(pick(0, 40))}`;
    // The fake model draws by the seed whatever the temperature is.
    const drawing = { ...DRAWINGS[i % DRAWINGS.length]!, seed: pick(0, 1000) };
    const body = { max_tokens: pick(20, 120), ...drawing, prompt, stream: pick(0, 3) > 0 };
    return pick(0, 12) === 0 && body.stream ? { body, leavesAfter: pick(1, 9) } : { body };
  });
}

/** Engines that live long enough for all that is kept to get a token, and are lost in any step. */
function* lossesOf(seed: number): Generator<Loss> {
  const pick = picker(seed);
  const kinds: readonly LossKind[] = ["lost", "silent"];
  for (let i = 0; i < NUM_LOSSES; i++) {
    const kind = i % 40 === 20 ? "memory" : kinds[pick(0, 2)]!;
    yield { step: pick(8, 30), kind };
  }
}

/** What a client has of one choice. */
interface Choice {
  text: string;
  finishReason: unknown;
}

/** What a client gets: its choices and counts; "left" for one that went away. */
type Answer = { readonly choices: readonly Choice[]; readonly usage: readonly number[] } | "left";

class Load {
  readonly failures: EngineFailure[] = [];
  readonly client: EngineClient;
  readonly #server;
  #statesSeen = new Set<string>();

  constructor(losses: Iterator<Loss> | undefined) {
    this.client = new EngineClient({
      restart: { initialDelayMs: 1, maxDelayMs: 4 },
      spawn: () =>
        new SessionWorker({
          startRunner: ({ numBlocksOverride: numBlocks = 0 }) => {
            const info = { ...INFO, numBlocks };
            return Promise.resolve({
              runner: new PagedFakeRunner(info),
              info,
              modelFingerprint: "fake",
            });
          },
          matchers: new FakeMatchers(),
          loss: losses?.next().value,
        }),
      onFailure: (failure) => this.failures.push(failure),
    });
    const metrics = new ServingMetrics(this.client, "quire/test");
    this.#server = testServer({ engine: this.client, metrics });
  }

  /** All that came of the requests, in their order. */
  async run(planned: readonly Planned[]): Promise<Answer[]> {
    await this.client.start(CONFIG);
    const answers: Answer[] = [];
    let next = 0;
    await Promise.all(Array.from({ length: NUM_CLIENTS }, async () => {
      while (next < planned.length) {
        const i = next++;
        answers[i] = await this.#ask(planned[i]!);
      }
    }));
    return answers;
  }

  async #ask({ body, leavesAfter }: Planned): Promise<Answer> {
    const stream = body.stream === true ? { stream_options: { include_usage: true } } : {};
    const response = await this.#post({ ...body, ...stream });
    assertEquals(response.status, 200);
    if (leavesAfter !== undefined) return await leave(response, leavesAfter);
    if (body.stream !== true) {
      const { choices, usage } = await response.json();
      return { choices: choices.map(choiceOf), usage: countsOf(usage) };
    }
    const events = await readEvents(response);
    assertEquals(events.pop(), "[DONE]");
    const choices: Choice[] = [];
    for (const event of events) {
      assertEquals(event.error, undefined);
      for (const part of event.choices) {
        const choice = choices[part.index] ??= { text: "", finishReason: null };
        choice.text += part.text;
        choice.finishReason ??= part.finish_reason;
      }
    }
    return { choices, usage: countsOf(events.at(-1).usage) };
  }

  /** New requests are refused while there is no engine; their clients come again. */
  async #post(body: unknown): Promise<Response> {
    while (true) {
      const response = await this.#server.post("/v1/completions", body);
      if (response.status !== 503) return response;
      assert(response.headers.has("retry-after"));
      const { error } = await response.json();
      assertEquals(error.code, "engine_unavailable");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

// deno-lint-ignore no-explicit-any -- JSON
const choiceOf = ({ text, finish_reason }: any): Choice => ({ text, finishReason: finish_reason });

// deno-lint-ignore no-explicit-any -- JSON
const countsOf = (usage: any): number[] => [usage.prompt_tokens, usage.completion_tokens];

async function leave(response: Response, numEvents: number): Promise<"left"> {
  const reader = response.body!.getReader();
  for (let i = 0; i < numEvents && !(await reader.read()).done; i++);
  await reader.cancel();
  return "left";
}

Deno.test("100 engines are lost under load: no request fails, and every answer is the same", async () => {
  const planned = plan(1);
  const calm = new Load(undefined);
  const expected = await calm.run(planned);
  calm.client.close();
  assertEquals(calm.client.stats.numLosses, 0);

  const struck = new Load(lossesOf(2));
  const answers = await struck.run(planned);
  answers.forEach((answer, i) => assertEquals(answer, expected[i], `request ${i}`));
  const { client, failures } = struck;
  assertEquals([failures.length, client.stats.numLosses], [NUM_LOSSES, NUM_LOSSES]);
  assertEquals(failures.filter(({ numFailed }) => numFailed > 0), []);
  assert(failures.reduce((sum, { numKept }) => sum + numKept, 0) > 10 * NUM_LOSSES);
  assertStringIncludes(client.notice ?? "", "at most 256 KV blocks in place of 1024");
  await client.command({ type: "check_integrity" });
  const { numRunning, numWaiting, numFreeBlocks, numCachedBlocks, numBlocks } = client.stats;
  assertEquals([client.numInFlight, numRunning, numWaiting], [0, 0, 0]);
  assertEquals(numFreeBlocks + numCachedBlocks, numBlocks);
  client.close();
});

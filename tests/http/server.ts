import { createLogger } from "../../src/base/log.ts";
import { createApp } from "../../src/http/app.ts";
import { createSeedSource } from "../../src/http/fields/seed_source.ts";
import type { Services } from "../../src/http/services.ts";
import { ServingMetrics } from "../../src/http/metrics/serving_metrics.ts";
import { MissWatch } from "../../src/misses/miss_watch.ts";
import { listen as openDoor } from "../../src/server/listen.ts";
import { createToolService } from "../../src/tools/tool_service.ts";
import { windowAnswer } from "../../src/window/window_answer.ts";
import { FAKE_HIDDEN_SIZE, FakeEngine } from "./fake_engine.ts";
import { FakeGrammars } from "./fake_grammars.ts";
import { FakeStopStrings, FakeText } from "./fake_text.ts";

/** The app over fakes, with everything a test may look at. */
export interface TestServer {
  readonly engine: FakeEngine;
  readonly services: Services;
  /** Lines of the log, parsed. */
  readonly log: Record<string, unknown>[];
  readonly app: ReturnType<typeof createApp>;
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Sends `body` as JSON. */
  post(path: string, body: unknown, headers?: HeadersInit): Promise<Response>;
}

/** Builds the app over a fake engine and a byte tokenizer. */
export function testServer(changes: Partial<Services> = {}): TestServer {
  const engine = new FakeEngine();
  const log: Record<string, unknown>[] = [];
  const services: Services = {
    engine,
    text: new FakeText(),
    grammars: new FakeGrammars(),
    tools: createToolService("hermes", undefined),
    misses: new MissWatch({
      maxBytes: 2 ** 20,
      isCaching: true,
      textOf: (ids) => new FakeText().textOf(ids),
      hasPartialCaches: () => false,
      onCause: (cause) => services.metrics.observeMiss(cause),
    }),
    createStopStrings: (stops) => new FakeStopStrings(stops),
    model: {
      names: ["quire/test", "alias"],
      created: 1_700_000_000,
      maxPositionEmbeddings: 512,
      maxCharsPerToken: 6,
      defaults: {},
      embedding: { pooling: "last", isNormalized: true, size: FAKE_HIDDEN_SIZE },
      rerank: { yes: 121, no: 110 },
    },
    access: { apiKeys: [], adminKeys: [], hostname: "127.0.0.1" },
    cacheSecret: new Uint8Array(32).fill(7),
    limits: {
      maxBodyBytes: 100_000,
      maxUnfinishedBytes: 1_000_000,
      maxJsonCost: 2 ** 19,
      bodyTimeoutMs: 60_000,
      maxNumQueuedSeqs: 128,
      keepAliveMs: 15_000,
    },
    metrics: new ServingMetrics(engine, "quire/test"),
    kvPlanner: {
      presets: ["tiny-llama", "big-llama"],
      plan: (query) =>
        query.preset === undefined || query.preset === "tiny-llama" ? { query } : undefined,
    },
    window: windowAnswer,
    log: createLogger({
      format: "json",
      level: "debug",
      write: (line) => log.push(JSON.parse(line)),
    }),
    version: "1.2.3",
    nextSeed: createSeedSource(7),
    now: () => performance.now(),
    ...changes,
  };
  const app = createApp(services);
  const request = async (path: string, init?: RequestInit) => await app.request(path, init);
  return {
    engine,
    services,
    log,
    app,
    request,
    post: (path, body, headers) =>
      request(path, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json", ...headers },
      }),
  };
}

/** Serves the app on a free port, as `quire serve` does, until disposed of. */
export async function listen({ app }: TestServer) {
  const { url, shutdown } = await openDoor({ host: "127.0.0.1", port: 0 }, app.fetch);
  return { port: Number(new URL(url).port), url, [Symbol.asyncDispose]: shutdown };
}

/** The same, as `deno serve` does. */
export function listenByDeno({ app }: TestServer) {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, app.fetch);
  return {
    port: server.addr.port,
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Payloads of a stream's `data:` events; the last one is "[DONE]". */
// deno-lint-ignore no-explicit-any -- answers are JSON of many shapes
export async function readEvents(response: Response): Promise<any[]> {
  const events = (await response.text()).split("\n\n");
  return events
    .filter((event) => event.startsWith("data: "))
    .map((event) => event.slice("data: ".length))
    .map((data) => data === "[DONE]" ? data : JSON.parse(data));
}

/** A chat request of one short message. */
export const CHAT = { messages: [{ role: "user", content: "Hi" }] };

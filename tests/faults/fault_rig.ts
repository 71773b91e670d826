import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { EngineClient } from "../../src/engine/client.ts";
import type { EngineClientOptions } from "../../src/engine/client_options.ts";
import { EngineThread } from "../../src/engine/engine_thread.ts";
import { ServingMetrics } from "../../src/http/metrics/serving_metrics.ts";
import { type TestServer, testServer } from "../http/server.ts";
import { FAULT_INFO, type FaultName, letterOf } from "./fault_names.ts";

const CONFIG: EngineConfig = {
  modelDir: "faulty",
  device: "cpu",
  blockSize: FAULT_INFO.blockSize,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: FAULT_INFO.maxNumSeqs,
  maxNumBatchedTokens: FAULT_INFO.maxNumBatchedTokens,
  maxNumQueuedSeqs: 64,
};

/** Streams, and requests for a whole answer, that are under way when a fault happens. */
const NUM_STREAMS = 16;
const NUM_WHOLE = 4;
/** Tokens of each of them: they are under way for some hundred steps. */
const LONG = 250;

/** After this a drill gives up; it says nothing of how long anything takes. */
const GIVE_UP_MS = 60_000;

/** The app over a real engine thread whose fake model fails on demand. */
export interface FaultServer {
  readonly client: EngineClient;
  readonly server: TestServer;
  start(): Promise<unknown>;
}

/** Makes one, of which a step may take 3 s; nothing is started yet. */
export function faultServer(options: EngineClientOptions = {}): FaultServer {
  const entry = new URL("./fault_worker.ts", import.meta.url);
  const client = new EngineClient({
    spawn: () => new EngineThread(entry),
    deadlines: { startMs: 60_000, stepMs: 3000 },
    ...options,
  });
  const metrics = new ServingMetrics(client, "quire/test");
  const server = testServer({ engine: client, metrics });
  return { client, server, start: () => client.start(CONFIG) };
}

function complete(url: string, prompt: string, fields: object): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt, ...fields }),
    signal: AbortSignal.timeout(GIVE_UP_MS),
  });
}

/** One look at `/health`, whose parts have to agree; returns the state. */
export async function health(url: string): Promise<string> {
  const response = await fetch(`${url}/health`);
  const { state, reason, error } = await response.json();
  const isReady = state === "ready";
  assertEquals(response.status, isReady ? 200 : 503);
  assertEquals([typeof reason, error?.code], [
    isReady ? "undefined" : "string",
    isReady ? undefined : "engine_unavailable",
  ]);
  return state;
}

/** Asks again and again until `isSo`. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUp = AbortSignal.timeout(GIVE_UP_MS);
  while (!await isSo()) {
    giveUp.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until `/health` says ready; until then it has to say why not. */
export function untilReady(url: string): Promise<void> {
  return until(async () => await health(url) === "ready");
}

/** A stream that has had its first token, and all that it sends to its end. */
async function openStream(url: string): Promise<{ text: Promise<string> }> {
  const response = await complete(url, "a", { stream: true, max_tokens: LONG });
  assertEquals(response.status, 200);
  const parts = response.body!.pipeThrough(new TextDecoderStream()).values();
  const { value: first } = await parts.next();
  const rest = async () => {
    let text = first ?? "";
    for await (const part of parts) text += part;
    return text;
  };
  return { text: rest() };
}

/** Payloads of a stream's events, without heartbeats; it ends with the word that it is over. */
function payloads(text: string): string[] {
  const messages = text.trimEnd().split("\n\n").filter((message) => message !== ": keep-alive");
  const events = messages.map((event) => event.replace(/^data: /, ""));
  assertEquals(events.pop(), "[DONE]");
  return events;
}

/** The stream has all of its answer, as if nothing had happened. */
function assertWhole(text: string): void {
  const chunks = payloads(text).map((payload) => JSON.parse(payload));
  const choices = chunks.flatMap(({ choices }) => choices);
  assertEquals(choices.map(({ text }) => text).join(""), "a".repeat(LONG));
  assertEquals(choices.at(-1).finish_reason, "length");
}

/** The stream ends as OpenAI's clients expect: with an error, after some of its answer. */
function assertBrokenOff(text: string): void {
  const events = payloads(text);
  const { error } = JSON.parse(events.at(-1)!);
  assertEquals([error.code, error.type], ["engine_unavailable", "server_error"]);
  assert(events.length > 3, "the stream had not begun");
}

async function assertAnswered(response: Response): Promise<void> {
  const { choices, usage } = await response.json();
  assertEquals([response.status, choices[0].text], [200, "a".repeat(LONG)]);
  assertEquals([usage.prompt_tokens, usage.completion_tokens], [2, LONG]);
}

async function assertRefused(response: Response, status: number, code: string): Promise<void> {
  const { error } = await response.json();
  assertEquals([response.status, error.code, error.type], [status, code, "server_error"]);
}

/** What clients are told: the texts of streams, whole answers, and the answer of the culprit. */
interface Outcome {
  readonly texts: readonly string[];
  readonly answers: readonly Response[];
  readonly culprit: Response;
}

/** Makes `fault` happen while 16 streams and 4 requests for whole answers are under way. */
async function strikeAndWait(url: string, fault: FaultName): Promise<Outcome> {
  const streams = await Promise.all(Array.from({ length: NUM_STREAMS }, () => openStream(url)));
  const whole = Array.from({ length: NUM_WHOLE }, () => complete(url, "a", { max_tokens: LONG }));
  const numRunning = NUM_STREAMS + NUM_WHOLE;
  await until(async () => await metric(url, "vllm:num_requests_running") === numRunning);
  const struck = complete(url, letterOf(fault), { max_tokens: LONG });
  // All at once, so that none rejects unseen.
  const [texts, answers, culprit] = await Promise.all([
    Promise.all(streams.map(({ text }) => text)),
    Promise.all(whole),
    struck,
  ]);
  return { texts, answers, culprit };
}

/**
 * Makes `fault` happen again and again, for its request is tried three times, and checks that it
 * ends with an error and all others go on to their ends.
 */
export async function strike(url: string, fault: FaultName): Promise<void> {
  const { texts, answers, culprit } = await strikeAndWait(url, fault);
  texts.forEach(assertWhole);
  await Promise.all(answers.map(assertAnswered));
  await assertRefused(culprit, 500, "engine_lost");
}

/** The same where it is the end of the engine: each request is answered with that. */
export async function strikeToTheEnd(url: string, fault: FaultName): Promise<void> {
  const { texts, answers, culprit } = await strikeAndWait(url, fault);
  texts.forEach(assertBrokenOff);
  const refused = [...answers, culprit];
  await Promise.all(
    refused.map((response) => assertRefused(response, 503, "engine_unavailable")),
  );
}

/** Checks that a request is answered. */
export async function assertServes(url: string): Promise<void> {
  const response = await complete(url, "a", { max_tokens: 3 });
  const { choices } = await response.json();
  assertEquals([response.status, choices[0].text], [200, "aaa"]);
}

/** The value of a metric, without or with its own label as in `name{state="ready"`. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(name));
  assert(line !== undefined, `no metric ${name}`);
  return Number(line.split(" ").at(-1));
}

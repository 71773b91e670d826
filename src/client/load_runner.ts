import type { Clock } from "../base/clock.ts";
import type { CountedPieces } from "../core/bench_config.ts";
import { StartupError } from "../core/errors.ts";
import type { Message, OpenAiClient, RequestFields, Usage } from "./openai_client.ts";
import type { Session } from "./workload.ts";

/** What was seen of one request, times in ms. */
export interface RequestResult {
  /** Of its session, from 0. */
  readonly turn: number;
  /** Why it failed; undefined for a whole answer. */
  readonly error?: string;
  /** From the request to the first piece. */
  readonly ttft: number;
  /** Pauses between one piece and the next. */
  readonly itls: readonly number[];
  /** From the request to the last piece. */
  readonly latency: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Undefined where the server does not say. */
  readonly cachedTokens: number | undefined;
}

/** Everything that was seen of a load. */
export interface LoadResult {
  readonly results: readonly RequestResult[];
  /** From the first request's begin to the last one's end, seconds. */
  readonly seconds: number;
  /** Most requests at once. */
  readonly peakConcurrency: number;
}

/** How a load is put on a server. */
export interface LoadOptions {
  readonly client: OpenAiClient;
  readonly endpoint: "chat" | "completions";
  /** What every request carries. */
  readonly fields: RequestFields;
  /** Events that are pieces of an answer; those with text if absent. */
  readonly pieces?: CountedPieces;
  readonly maxConcurrency?: number;
  /** Ends the load early: no request begins, and running ones break off. */
  readonly signal?: AbortSignal;
  /** Told after each request. */
  readonly onProgress?: (numDone: number, numRunning: number) => void;
}

/** Puts sessions on a server, each at its time, and watches every answer. */
export async function runLoad(
  sessions: readonly Session[],
  options: LoadOptions,
): Promise<LoadResult> {
  const gate = new Gate(options.maxConcurrency ?? Infinity);
  const results: RequestResult[] = [];
  const { clock } = options.client;
  const beganMs = clock.now();
  await Promise.all(sessions.map(async (session) => {
    await pause(session.beginMs - (clock.now() - beganMs), clock, options.signal);
    const messages: Message[] = [];
    for (const [turn, { text, maxTokens }] of session.turns.entries()) {
      await gate.enter();
      if (options.signal?.aborted === true) return gate.leave();
      messages.push({ role: "user", content: text });
      const { result, answer } = await ask(messages, { turn, maxTokens }, options);
      gate.leave();
      results.push(result);
      options.onProgress?.(results.length, gate.numInside);
      if (result.error !== undefined) return;
      messages.push({ role: "assistant", content: answer });
    }
  }));
  const seconds = (clock.now() - beganMs) / 1000;
  return { results, seconds, peakConcurrency: gate.peak };
}

/** Asks once, and watches the answer. */
async function ask(
  messages: readonly Message[],
  { turn, maxTokens }: { readonly turn: number; readonly maxTokens: number },
  { client, endpoint, fields, pieces = "text", signal }: LoadOptions,
): Promise<{ readonly result: RequestResult; readonly answer: string }> {
  const began = client.clock.now();
  const itls: number[] = [];
  let answer = "";
  let first: number | undefined;
  let last = began;
  let usage: Usage | undefined;
  let error: string | undefined;
  const body = { ...fields, max_tokens: maxTokens };
  const prompt = messages.map(({ content }) => content).join("\n");
  try {
    const parts = endpoint === "chat"
      ? client.chat({ ...body, messages: [...messages] }, signal)
      : client.complete({ ...body, prompt }, signal);
    for await (const part of parts) {
      usage = part.usage ?? usage;
      const hasText = part.text !== "" || part.thinking !== "";
      if (pieces === "text" ? !hasText : !part.hasChoice) continue;
      answer += part.text;
      if (first === undefined) first = part.atMs;
      else itls.push(part.atMs - last);
      last = part.atMs;
    }
    if (first === undefined) error = "the answer was empty";
  } catch (failure) {
    if (signal?.aborted === true) error = "stopped";
    else if (failure instanceof StartupError) error = failure.message;
    else throw failure;
  }
  const result = {
    turn,
    ...(error === undefined ? {} : { error }),
    ttft: (first ?? last) - began,
    itls,
    latency: last - began,
    promptTokens: usage?.promptTokens ?? 0,
    // A server that counts nothing still sends about a token per event.
    outputTokens: usage?.completionTokens ?? (first === undefined ? 0 : itls.length + 1),
    cachedTokens: usage?.cachedTokens,
  };
  return { result, answer };
}

/** Lets so many in at once, in their order. */
class Gate {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  numInside = 0;
  peak = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async enter(): Promise<void> {
    if (this.numInside >= this.#limit) {
      // Whoever leaves hands its place on.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      return;
    }
    this.numInside++;
    this.peak = Math.max(this.peak, this.numInside);
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.numInside--;
    else next();
  }
}

/** Waits, or until `signal` aborts. */
function pause(ms: number, clock: Clock, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0 || signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal?.addEventListener("abort", done);
  });
}

/**
 * A thin server of OpenAI's API over llama.cpp, so that one tool measures both:
 *
 *     deno run -A --no-config --node-modules-dir=manual bench/peers/llama_server.ts INSTALL_DIR \
 *       MODEL.gguf [--port 8080] [--slots 8] [--context 1024] [--threads 2]
 *     deno run -A main.ts bench localhost:8080
 *
 * INSTALL_DIR is where `install_llama.ts` has put `node-llama-cpp`. It answers `/v1/models`,
 * `/v1/completions` and `/v1/chat/completions`, streamed or whole, and reads `prompt` or `messages`,
 * `max_tokens`, `temperature` (0 unless given), `ignore_eos` and `stream`; other fields it leaves
 * alone. `usage` always closes a stream. It prints `Ready URL` once it answers.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { type DrawSettings, LlamaSlots } from "./llama_slots.ts";

const DEFAULT_MAX_TOKENS = 128;

/** A body of either endpoint, as far as it is read. */
interface Body {
  readonly prompt?: string;
  readonly messages?: readonly unknown[];
  readonly max_tokens?: number;
  readonly temperature?: number;
  readonly ignore_eos?: boolean;
  readonly stream?: boolean;
}

/** A request that is understood. */
interface Job {
  readonly isChat: boolean;
  readonly prompt: readonly number[];
  readonly settings: DrawSettings;
}

/** The names that a model is told by. */
interface Served {
  readonly slots: LlamaSlots;
  readonly name: string;
}

async function answer(served: Served, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/v1/models") {
    return Response.json({ object: "list", data: [{ id: served.name, object: "model" }] });
  }
  const isChat = pathname === "/v1/chat/completions";
  if (!isChat && pathname !== "/v1/completions") return refuse(404, `nothing is at ${pathname}`);
  const body = await request.json() as Body;
  const job = jobOf(served.slots, body, isChat);
  if (typeof job === "string") return refuse(400, job);
  const chunks = chunksOf(served, job);
  if (body.stream === true) return streamed(chunks);
  return Response.json(await joined(chunks, isChat));
}

/** What a request asks for, or why it is refused. */
function jobOf(slots: LlamaSlots, body: Body, isChat: boolean): Job | string {
  const prompt = isChat
    ? slots.chatTokens(body.messages ?? [])
    : slots.tokensOf(String(body.prompt ?? ""));
  if (prompt === undefined) return "the model has no chat template: use /v1/completions";
  const room = slots.contextLen - prompt.length;
  if (prompt.length === 0 || room < 1) {
    return `a prompt has 1 to ${slots.contextLen - 1} tokens, this one ${prompt.length}`;
  }
  const settings = {
    maxTokens: Math.min(room, body.max_tokens ?? DEFAULT_MAX_TOKENS),
    temperature: body.temperature ?? 0,
    ignoreEos: body.ignore_eos === true,
  };
  return { isChat, prompt, settings };
}

/** The chunks of a streamed answer, in OpenAI's form; the last one has the counts. */
async function* chunksOf({ slots, name }: Served, { isChat, prompt, settings }: Job) {
  const head = {
    id: crypto.randomUUID(),
    object: isChat ? "chat.completion.chunk" : "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: name,
  };
  const chunk = (text: string, finish_reason: string | null) => ({
    ...head,
    choices: [
      isChat
        ? { index: 0, delta: { content: text }, finish_reason }
        : { index: 0, text, finish_reason },
    ],
  });
  let [numTokens, numCached] = [0, 0];
  for await (const event of slots.answer(prompt, settings)) {
    if ("numCached" in event) numCached = event.numCached;
    else if ("end" in event) yield chunk("", event.end);
    else {
      numTokens++;
      yield chunk(event.text, null);
    }
  }
  yield {
    ...head,
    choices: [],
    usage: {
      prompt_tokens: prompt.length,
      completion_tokens: numTokens,
      total_tokens: prompt.length + numTokens,
      prompt_tokens_details: { cached_tokens: numCached },
    },
  };
}

type Chunks = ReturnType<typeof chunksOf>;

/** Sends each chunk when it is there, and stops the model when nobody reads any more. */
function streamed(chunks: Chunks): Response {
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      const data = done === true ? "[DONE]" : JSON.stringify(value);
      controller.enqueue(encoder.encode(`data: ${data}\n\n`));
      if (done === true) controller.close();
    },
    async cancel() {
      await chunks.return();
    },
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

async function joined(chunks: Chunks, isChat: boolean): Promise<Record<string, unknown>> {
  let text = "";
  let finish_reason: string | null = null;
  let last: Record<string, unknown> = {};
  for await (const chunk of chunks) {
    const [choice] = chunk.choices;
    if (choice !== undefined) {
      text += "delta" in choice ? choice.delta.content : choice.text;
      finish_reason = choice.finish_reason ?? finish_reason;
    }
    last = chunk;
  }
  const choice = isChat
    ? { index: 0, message: { role: "assistant", content: text }, finish_reason }
    : { index: 0, text, finish_reason };
  return { ...last, ...(isChat ? { object: "chat.completion" } : {}), choices: [choice] };
}

function refuse(status: number, message: string): Response {
  return Response.json({ error: { message } }, { status });
}

async function main(): Promise<void> {
  const { values, positionals: [install, model] } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      port: { type: "string", default: "8080" },
      slots: { type: "string", default: "8" },
      context: { type: "string", default: "1024" },
      threads: { type: "string", default: "2" },
    },
  });
  if (install === undefined || model === undefined) {
    throw new Error("llama_server.ts needs INSTALL_DIR and MODEL.gguf");
  }
  const slots = await LlamaSlots.open(install, model, {
    numSlots: Number(values.slots),
    contextLen: Number(values.context),
    numThreads: Number(values.threads),
  });
  const name = model.replace(/^.*\//, "").replace(/\.gguf$/, "");
  const onListen = ({ hostname, port }: { hostname: string; port: number }) =>
    console.log(`Ready http://${hostname}:${port}`);
  const place = { hostname: "127.0.0.1", port: Number(values.port), onListen };
  Deno.serve(place, (request) => answer({ slots, name }, request));
}

if (import.meta.main) await main();

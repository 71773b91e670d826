import { assert, assertEquals } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { IsolateHeaps } from "../support/isolate_heaps.ts";
import { IS_QUICK } from "../support/runs.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

const NUM_CLIENTS = IS_QUICK ? 100 : 1000;
/** Of 1,024 positions: 20 to 30 of the requests below run at once. */
const NUM_BLOCKS = 64;
/** Fewer than there are clients, so that many are told to come again. */
const MAX_QUEUED = NUM_CLIENTS / 4;
/** What all clients at once may take. */
const PEAK_MIB = 512;
/**
 * What may be kept of them: the logs of KV events and decisions and the memory of prompts, all
 * bounded, about 2 KiB of a request; code that is compiled by then; pages that V8 does not give back.
 */
const [KEPT_MAIN_MIB, KEPT_ENGINE_MIB, KEPT_PROCESS_MIB] = [8, 4, 160];

/** The body of a request, and what comes back when nothing else runs. */
interface Question {
  readonly body: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** What a client does with its answer. */
type Manner = "reads" | "reads slowly" | "leaves";

/** Every third leaves: at once, or after some of its answer. Every sixth reads slowly. */
function mannerOf(client: number): Manner {
  return client % 3 === 0 ? "leaves" : client % 6 === 1 ? "reads slowly" : "reads";
}

/** Prompts of 4 to 300 tokens with answers of 1 to 48, greedy and seeded. */
function bodies(): Question["body"][] {
  const golden = goldenPrompts().map(({ prompt_ids }) => prompt_ids.slice(0, 48));
  const short = golden.map((prompt, i) => ({
    prompt,
    max_tokens: [1, 2, 4, 8, 16, 32, 48][i % 7],
  }));
  const long = [120, 300].map((length, i) => {
    const prompt = Array.from({ length }, (_, at) => golden[i]![at % golden[i]!.length]!);
    return { prompt, max_tokens: 8 + i };
  });
  return [...short, ...long].map((body, i) => ({
    ...body,
    ignore_eos: true,
    ...(i % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, seed: i }),
  }));
}

async function askAlone(server: ServerProcess, body: Question["body"]): Promise<Question> {
  const response = await server.post("/v1/completions", body);
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return { body, text: answer.choices[0].text };
}

/** Closes a connection when its answer ends, as many clients in as many processes do. */
const connections = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });

/** Streams an answer, and comes again as long as the queue is full. */
class Client {
  readonly #server: ServerProcess;
  readonly #question: Question;
  readonly #index: number;
  /** Times that the queue was full. */
  numRefusals = 0;

  constructor(server: ServerProcess, question: Question, index: number) {
    this.#server = server;
    this.#question = question;
    this.#index = index;
  }

  /** Whether it got its whole answer, which is then what it is alone. */
  async run(): Promise<boolean> {
    const gone = new AbortController();
    const response = await this.#admitted(gone.signal);
    const manner = mannerOf(this.#index);
    const numEvents = manner === "leaves" ? this.#index % 5 : Infinity;
    let numSeen = 0;
    let text = "";
    if (numEvents > 0) {
      for await (const data of events(response, manner)) {
        if (data === "[DONE]") break;
        const { choices, error } = JSON.parse(data);
        assert(error === undefined, data);
        text += choices[0]?.text ?? "";
        if (++numSeen === numEvents) break;
      }
    }
    gone.abort();
    const isWhole = numSeen < numEvents;
    const { text: expected, body } = this.#question;
    if (isWhole) assertEquals(text, expected, JSON.stringify(body));
    else assert(expected.startsWith(text), `${JSON.stringify(text)} of ${expected}`);
    return isWhole;
  }

  async #admitted(signal: AbortSignal): Promise<Response> {
    for (;;) {
      const body = { ...this.#question.body, stream: true };
      const init: RequestInit & { client: Deno.HttpClient } = { signal, client: connections };
      const response = await this.#server.post("/v1/completions", body, init);
      if (response.status === 200) return response;
      const { error } = await response.json();
      assertEquals([response.status, error.code], [429, "queue_full"], error.message);
      const seconds = Number(response.headers.get("retry-after"));
      assert(seconds >= 1, `Retry-After is ${response.headers.get("retry-after")}`);
      this.numRefusals++;
      await pause(seconds * 1000);
    }
  }
}

/** The data of an answer's events. Ending early closes nothing: the request is aborted for that. */
async function* events(response: Response, manner: Manner): AsyncGenerator<string> {
  let rest = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + piece).split("\n\n");
    rest = parts.pop()!;
    for (const part of parts) {
      if (part.startsWith("data: ")) yield part.slice("data: ".length);
      if (manner === "reads slowly") await pause(20);
    }
  }
  assertEquals(rest, "");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function residentMiB(pid: number, figure: "VmRSS" | "VmHWM" = "VmRSS"): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(new RegExp(`${figure}:\\s+(\\d+) kB`).exec(text)![1]) / 1024;
}

/** All clients at once: how many were refused at first, how many got all, what it took. */
async function crowd(server: ServerProcess, questions: readonly Question[]) {
  const clients = Array.from(
    { length: NUM_CLIENTS },
    (_, i) => new Client(server, questions[i % questions.length]!, i),
  );
  const isWhole = await Promise.all(clients.map((client) => client.run()));
  return {
    numRefused: clients.filter(({ numRefusals }) => numRefusals > 0).length,
    numWhole: isWhole.filter((whole) => whole).length,
    peakMiB: await residentMiB(server.pid, "VmHWM"),
  };
}

Deno.test({
  name:
    `${NUM_CLIENTS} streaming clients on ${NUM_BLOCKS} blocks: a third leaves, some read slowly, ` +
    `the others get what they would alone, and nothing is left behind`,
  // The memory of another process is read in /proc.
  ignore: Deno.build.os !== "linux",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const inspected = freePort();
    const server = await ServerProcess.start(
      [
        ...["--num-gpu-blocks-override", String(NUM_BLOCKS), "--max-model-len", "512"],
        // Answers take each other's blocks.
        ...["--max-queued-requests", String(MAX_QUEUED), "--schedule-conservativeness", "0"],
      ],
      {},
      [`--inspect=127.0.0.1:${inspected}`],
    );
    const heaps = await IsolateHeaps.connect(inspected);
    const questions: Question[] = [];
    for (const body of bodies()) questions.push(await askAlone(server, body));
    const measure = async () => ({
      main: await heaps.usedMiB(),
      engine: await heaps.usedMiB("engine/worker.ts"),
      process: await residentMiB(server.pid),
    });
    const before = await measure();

    const { numRefused, numWhole, peakMiB } = await crowd(server, questions);
    assert(numRefused >= MAX_QUEUED, `${numRefused} clients were told to come again`);
    assert(numWhole >= Math.floor(2 / 3 * NUM_CLIENTS), `${numWhole} whole answers`);
    assert(await server.metric("quire:prefix_cache_evicted_blocks_total") > 0);
    // Few clients may be served without.
    if (!IS_QUICK) assert(await server.metric("vllm:num_preemptions_total") > 0);

    await server.idle();
    const { status, blocks } = await (await server.fetch("/admin/kv/check")).json();
    assertEquals([status, blocks.in_use, blocks.free + blocks.cached], ["ok", 0, NUM_BLOCKS]);
    const after = await measure();
    const told = `MiB: ${JSON.stringify({ before, peakMiB, after })}`;
    assert(peakMiB < before.process + PEAK_MIB, told);
    assert(after.main < before.main + KEPT_MAIN_MIB, told);
    assert(after.engine < before.engine + KEPT_ENGINE_MIB, told);
    assert(after.process < before.process + KEPT_PROCESS_MIB, told);
    assert(!/\n\s+at /.test(server.output), `a stack trace: ${server.output.slice(-4000)}`);
    // An attached inspector keeps the process from its end.
    heaps.close();
    await server.stop();
  },
});

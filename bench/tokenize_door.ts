/**
 * What long texts do to those who knock meanwhile: sends the longest tokenizations that the door
 * takes, and asks `/health` all the while. Prints how long each took, the slowest `/health` beside
 * the slowest of an idle door, and the server's peak memory; the last line is the same as JSON.
 *
 *     deno run -A bench/tokenize_door.ts [DIRECTORY] [--quick]
 *
 * takes the tokenizer and the chat template of a model's directory, the bundled one by default.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { DEFAULT_LIMITS } from "../src/http/services.ts";
import { loadTextService } from "../src/tokenizer/text_service.ts";
import { INFO } from "../tests/http/fake_engine.ts";
import { listen } from "../src/server/listen.ts";
import { testServer } from "../tests/http/server.ts";

const DEMO = new URL("../models/demo", import.meta.url).pathname;
const SERVE = "--serve";

/** A request that takes long, and how many of it go out at once. */
interface Load {
  readonly name: string;
  readonly path: string;
  readonly body: unknown;
  readonly times?: number;
}

const isQuick = Deno.args.includes("--quick");
/** A quick run sends this part of each text, and listens to the idle door for that part of the time. */
const SHARE = isQuick ? 1 / 64 : 1;

function fill(unit: string, numCharsInFull: number): string {
  const numChars = SHARE * numCharsInFull;
  return unit.repeat(Math.ceil(numChars / unit.length)).slice(0, numChars);
}

const LOADS: readonly Load[] = [
  ...["the", "1234567890", "ab", " ", "The fox, 12 of them. "].map((unit) => ({
    name: `tokenize 4 MiB of ${JSON.stringify(unit)}`,
    path: "/tokenize",
    body: { prompt: fill(unit, 2 ** 22) },
  })),
  {
    name: "tokenize 1 MiB with pieces",
    path: "/tokenize",
    body: { content: fill("a b ", 2 ** 20), with_pieces: true },
  },
  {
    name: "16 times 4,000 characters at once",
    path: "/tokenize",
    body: { prompt: fill("abc", 4000) },
    times: 16,
  },
  {
    name: "chat of 2 MiB",
    path: "/v1/chat/completions",
    body: {
      max_tokens: 1,
      messages: [{ role: "user", content: fill("Hello <|im_end|> you. ", 2 ** 21) }],
    },
  },
  {
    name: "1,024 prompts of 6,000 characters",
    path: "/v1/completions",
    body: {
      max_tokens: 1,
      prompt: Array.from({ length: 1024 }, (_, i) => fill(`Prompt ${i}, `, 6000)),
    },
  },
  {
    name: "detokenize 2^18 tokens",
    path: "/detokenize",
    body: { tokens: Array.from({ length: SHARE * 2 ** 18 }, (_, i) => (i * 7919) % 2000) },
  },
];

/** The door over a tokenizer and an engine that answers at once; says its port on a line. */
async function serve(dir: string): Promise<void> {
  const text = await loadTextService(dir);
  const server = testServer({ text, limits: DEFAULT_LIMITS });
  server.engine.info = { ...INFO, maxModelLen: 2 ** 22, vocabSize: text.vocabSize };
  const { url } = await listen({ host: "127.0.0.1", port: 0 }, server.app.fetch);
  Deno.stdout.writeSync(encode(`${new URL(url).port}\n`));
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Asks `/health` again and again until `until` settles; ms of each answer. */
async function knock(url: string, until: Promise<unknown>): Promise<number[]> {
  let isOver = false;
  until.finally(() => isOver = true).catch(() => {});
  const times: number[] = [];
  while (!isOver) {
    const start = performance.now();
    await (await fetch(`${url}/health`)).body?.cancel();
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return times;
}

async function send(url: string, { path, body, times = 1 }: Load): Promise<string> {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: encode(JSON.stringify(body)) as Uint8Array<ArrayBuffer>,
  };
  const answers = await Promise.all(
    Array.from({ length: times }, async () => {
      const response = await fetch(url + path, init);
      // Read as bytes: to parse them here would hold the other clock up.
      const bytes = await response.bytes();
      if (response.ok) return "200";
      const { error } = JSON.parse(new TextDecoder().decode(bytes));
      return `${response.status}: ${error.message}`;
    }),
  );
  return [...new Set(answers)].join(" | ");
}

/** Most memory that a process has held so far, MiB; undefined where the system does not say. */
function peakMib(pid: number): number | undefined {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    const [, kib] = /VmHWM:\s+(\d+) kB/.exec(status) ?? [];
    return kib === undefined ? undefined : Math.round(Number(kib) / 1024);
  } catch {
    return undefined;
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

async function measure(url: string, pid: number) {
  const idle = await knock(url, new Promise((resolve) => setTimeout(resolve, SHARE * 2000)));
  const idleMs = Math.max(...idle);
  const rows = [];
  for (const load of LOADS) {
    const start = performance.now();
    const sent = send(url, load);
    const times = await knock(url, sent);
    const seconds = (performance.now() - start) / 1000;
    const healthMs = Math.max(...times);
    const p99Ms = percentile(times, 0.99);
    const row = {
      load: load.name,
      answer: await sent,
      seconds: Number(seconds.toFixed(2)),
      slowestHealthMs: Number(healthMs.toFixed(1)),
      p99HealthMs: Number(p99Ms.toFixed(1)),
      ratioToIdle: Number((healthMs / idleMs).toFixed(1)),
      knocks: times.length,
      peakMib: peakMib(pid),
    };
    rows.push(row);
    console.log(
      `${row.load.padEnd(48)} ${row.seconds.toFixed(2).padStart(7)} s  /health at most ` +
        `${row.slowestHealthMs.toFixed(1).padStart(6)} ms (99 %: ` +
        `${row.p99HealthMs.toFixed(1).padStart(4)}) of ${row.knocks}, ` +
        `peak ${row.peakMib ?? "?"} MiB  ${row.answer}`,
    );
  }
  return { idleHealthMs: Number(idleMs.toFixed(1)), rows };
}

async function main(): Promise<void> {
  const [first, second] = Deno.args.filter((argument) => argument !== "--quick");
  if (first === SERVE) return await serve(second ?? DEMO);
  const dir = first ?? DEMO;
  const args = ["run", "-A", "--no-check", import.meta.filename!, SERVE, dir];
  const server = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  try {
    const { value } = await server.stdout.getReader().read();
    const url = `http://127.0.0.1:${new TextDecoder().decode(value).trim()}`;
    const result = await measure(url, server.pid);
    console.log(JSON.stringify({ bench: "tokenize_door", dir, share: SHARE, ...result }));
  } finally {
    server.kill();
  }
}

if (import.meta.main) await main();

/**
 * What the door costs: the same answers through `listen()`, whose connections are node:http's and
 * bounded, and through Deno's own server, the ceiling here, in alternating runs. The clients share the
 * process, so the rates are far below what either does by itself; the ratio is what counts.
 *
 *     deno run -A bench/door.ts [--quick]
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { listen } from "../src/server/listen.ts";
import { median } from "./median.ts";

const isQuick = Deno.args.includes("--quick");
const NUM_ROUNDS = isQuick ? 1 : 5;
const NUM_CLIENTS = 16;
const NUM_REQUESTS = isQuick ? 50 : 2000;
const NUM_STREAMS = isQuick ? 16 : 64;
const NUM_EVENTS = isQuick ? 5 : 500;

const EVENT = new TextEncoder().encode(`data: ${JSON.stringify({ text: "x".repeat(150) })}\n\n`);

function answer(request: Request): Response {
  if (!request.url.endsWith("/stream")) return Response.json({ status: "ok" });
  let left = NUM_EVENTS;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left-- > 0) controller.enqueue(EVENT);
      else controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** Calls `ask` `count` times, so many at once; returns calls per second. */
async function rate(count: number, ask: () => Promise<unknown>): Promise<number> {
  let left = count;
  const began = performance.now();
  await Promise.all(Array.from({ length: NUM_CLIENTS }, async () => {
    while (left-- > 0) await ask();
  }));
  return count / ((performance.now() - began) / 1000);
}

async function measure(url: string) {
  const read = async (path: string) => await (await fetch(`${url}${path}`)).arrayBuffer();
  const requests = await rate(NUM_REQUESTS, () => read("/health"));
  const streams = await rate(NUM_STREAMS, () => read("/stream"));
  return { requestsPerSecond: requests, eventsPerSecond: streams * NUM_EVENTS };
}

if (import.meta.main) {
  const own = await listen({ host: "127.0.0.1", port: 0 }, answer);
  const deno = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  const urls = { listen: own.url, "Deno.serve": `http://127.0.0.1:${deno.addr.port}` };
  const runs = Object.entries(urls).map(([name, url]) => ({
    name,
    url,
    results: [] as Awaited<ReturnType<typeof measure>>[],
  }));
  for (const { url } of runs) await measure(url);
  for (let i = 0; i < NUM_ROUNDS; i++) {
    for (const { url, results } of runs) results.push(await measure(url));
  }
  const table = Object.fromEntries(runs.map(({ name, results }) => [name, {
    requestsPerSecond: Math.round(median(results.map((r) => r.requestsPerSecond))),
    eventsPerSecond: Math.round(median(results.map((r) => r.eventsPerSecond))),
  }]));
  console.table(table);
  console.log(JSON.stringify({ bench: "door", clients: NUM_CLIENTS, ...table }));
  Deno.exit(0);
}

import { assertEquals } from "@std/assert";
import { WorkerHost, type WorkerHostOptions } from "../../src/tokenizer/worker_host.ts";
import { SHORT_TASK_CHARS, WorkerLanes } from "../../src/tokenizer/worker_lanes.ts";
import type { FromWorker, HostedWorker, ToWorker } from "../../src/tokenizer/worker_messages.ts";

interface Request {
  readonly text: string;
  readonly limits: { readonly deadlineMs: number };
}
interface Outcome {
  readonly type: "rendered";
  readonly text: string;
}
type ToRenderer = ToWorker<string, Request>;
type FromRenderer = FromWorker<Outcome>;
type RenderWorker = HostedWorker<string, Request, Outcome>;

/** A Worker that answers by a script: undefined for no answer at all. */
class FakeWorker implements RenderWorker {
  onmessage: RenderWorker["onmessage"] = null;
  onerror: RenderWorker["onerror"] = null;
  terminated = false;
  readonly received: ToRenderer[] = [];

  constructor(readonly script: (message: ToRenderer) => FromRenderer | "crash" | undefined) {}

  postMessage(message: ToRenderer): void {
    this.received.push(message);
    const answer = this.script(message);
    if (answer === undefined) return;
    queueMicrotask(() => {
      if (answer === "crash") {
        this.onerror?.(new ErrorEvent("error", { message: "out of memory", cancelable: true }));
      } else this.onmessage?.(new MessageEvent("message", { data: answer }));
    });
  }

  terminate(): void {
    this.terminated = true;
  }
}

/** Renders the text it is given, but hangs on "hang" and crashes on "crash". */
function wellBehaved(message: ToRenderer): FromRenderer | "crash" | undefined {
  if (message.type === "load") return { type: "loaded" };
  const text = message.request.text;
  if (text === "hang") return undefined;
  if (text === "crash") return "crash";
  return { type: "done", outcome: { type: "rendered", text: text.toUpperCase() } };
}

function createHost(
  script: (message: ToRenderer) => FromRenderer | "crash" | undefined = wellBehaved,
  options: Partial<WorkerHostOptions<string, Request, Outcome>> = {},
) {
  const workers: FakeWorker[] = [];
  const spawn = () => {
    const worker = new FakeWorker(script);
    workers.push(worker);
    return worker;
  };
  return { host: new WorkerHost("source", { spawn, graceMs: 0, ...options }), workers };
}

function request(text: string) {
  return { text, limits: { deadlineMs: 1 } };
}

Deno.test("WorkerHost loads once and works in order, one at a time", async () => {
  const { host, workers } = createHost();
  assertEquals(await host.load(), undefined);
  const texts = ["a", "b", "c"];
  const outcomes = await Promise.all(texts.map((text) => host.run(request(text))));
  assertEquals(outcomes.map((outcome) => outcome.type === "rendered" && outcome.text), [
    "A",
    "B",
    "C",
  ]);
  assertEquals(workers.length, 1);
  assertEquals(workers[0]!.received.map(({ type }) => type), [
    "load",
    "run",
    "run",
    "run",
  ]);
  host.close();
  assertEquals(workers[0]!.terminated, true);
});

Deno.test("WorkerHost replaces a Worker that hangs, and those behind it are done", async () => {
  const { host, workers } = createHost();
  const texts = ["a", "hang", "b", "hang", "c"];
  const outcomes = await Promise.all(texts.map((text) => host.run(request(text))));
  const limit = { type: "limit", message: "takes longer than 1 ms" };
  assertEquals<unknown>(outcomes, [
    { type: "rendered", text: "A" },
    limit,
    { type: "rendered", text: "B" },
    limit,
    { type: "rendered", text: "C" },
  ]);
  assertEquals(workers.map(({ terminated }) => terminated), [true, true, false]);
  host.close();
});

Deno.test("WorkerHost replaces a Worker that crashes", async () => {
  const { host, workers } = createHost();
  const outcomes = await Promise.all(["crash", "b"].map((text) => host.run(request(text))));
  assertEquals<unknown>(outcomes, [
    { type: "failed", message: "out of memory" },
    { type: "rendered", text: "B" },
  ]);
  assertEquals(workers.length, 2);
  host.close();
});

Deno.test("WorkerHost ignores what a Worker says after it was given up", async () => {
  const { host, workers } = createHost();
  await host.run(request("hang"));
  const stale = new MessageEvent("message", {
    data: { type: "done", outcome: { type: "rendered", text: "stale" } } as FromRenderer,
  });
  const next = host.run(request("b"));
  workers[0]!.onmessage?.(stale);
  assertEquals(await next, { type: "rendered", text: "B" });
  host.close();
});

Deno.test("WorkerHost.load() says why a Worker cannot be used", async () => {
  const refused = createHost(() => ({ type: "refused", message: "bad syntax" }));
  assertEquals(await refused.host.load(), "bad syntax");
  const hanging = createHost(() => undefined, { loadDeadlineMs: 1 });
  assertEquals(await hanging.host.load(), "loading takes longer than 1 ms");
  const crashing = createHost(() => "crash");
  assertEquals(await crashing.host.load(), "out of memory");
  assertEquals(crashing.workers[0]!.terminated, true);
  for (const { host } of [refused, hanging, crashing]) host.close();
});

Deno.test("WorkerHost fails the tasks of a Worker that does not start, each by itself", async () => {
  const { host, workers } = createHost(() => "crash");
  const outcomes = await Promise.all(["a", "b"].map((text) => host.run(request(text))));
  assertEquals(outcomes.map(({ type }) => type), ["failed", "failed"]);
  assertEquals(workers.length, 2);
  host.close();
});

Deno.test("WorkerHost refuses more tasks than may wait", async () => {
  const { host } = createHost(wellBehaved, { maxWaiting: 2 });
  const texts = ["a", "b", "c", "d"];
  const outcomes = await Promise.all(texts.map((text) => host.run(request(text))));
  assertEquals(outcomes.map(({ type }) => type), ["rendered", "rendered", "rendered", "busy"]);
  host.close();
});

Deno.test("WorkerHost.close() ends tasks under way, waiting and later", async () => {
  const { host } = createHost();
  const renders = ["hang", "b"].map((text) => host.run(request(text)));
  host.close();
  host.close();
  renders.push(host.run(request("c")));
  const outcomes = await Promise.all(renders);
  assertEquals(outcomes.map(({ type }) => type), ["stopping", "stopping", "stopping"]);
});

Deno.test("WorkerHost refuses a task whose text does not fit beside those that wait", async () => {
  const { host } = createHost(wellBehaved, { maxWaitingChars: 10 });
  // The first is under way at once, and one alone may be as long as it likes.
  const numChars = [5, 20, 1, 1];
  const outcomes = await Promise.all(numChars.map((numChars) => host.run(request("a"), numChars)));
  assertEquals(outcomes.map(({ type }) => type), ["rendered", "rendered", "busy", "busy"]);
  assertEquals((await host.run(request("a"), 10)).type, "rendered");
  host.close();
});

Deno.test("WorkerLanes does short tasks while a long one hangs, and starts a lane when needed", async () => {
  const made: ReturnType<typeof createHost>[] = [];
  const lanes = new WorkerLanes(() => {
    made.push(createHost());
    return made.at(-1)!.host;
  });
  const spawned = () => made.map(({ workers }) => workers.length);
  assertEquals(await lanes.load(), undefined);
  assertEquals(spawned(), [1, 0]);
  const order: string[] = [];
  const note = (name: string) => ({ type }: { type: string }) => order.push(`${name} ${type}`);
  const long = lanes.run(request("hang"), SHORT_TASK_CHARS + 1).then(note("long"));
  await Promise.all(
    ["a", "b"].map((text) => lanes.run(request(text), SHORT_TASK_CHARS).then(note("short"))),
  );
  assertEquals(order, ["short rendered", "short rendered"]);
  await long;
  assertEquals([order.at(-1), spawned()], ["long limit", [1, 1]]);
  lanes.close();
  assertEquals((await lanes.run(request("a"), 1)).type, "stopping");
});

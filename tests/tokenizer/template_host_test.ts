import { assertEquals } from "@std/assert";
import { TemplateHost, type TemplateHostOptions } from "../../src/tokenizer/template_host.ts";
import type {
  FromRenderer,
  RenderWorker,
  ToRenderer,
} from "../../src/tokenizer/template_messages.ts";

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
  const text = String(message.request.variables["text"]);
  if (text === "hang") return undefined;
  if (text === "crash") return "crash";
  return { type: "done", outcome: { type: "rendered", text: text.toUpperCase() } };
}

function createHost(
  script: (message: ToRenderer) => FromRenderer | "crash" | undefined = wellBehaved,
  options: TemplateHostOptions = {},
) {
  const workers: FakeWorker[] = [];
  const spawn = () => {
    const worker = new FakeWorker(script);
    workers.push(worker);
    return worker;
  };
  return { host: new TemplateHost("source", { spawn, graceMs: 0, ...options }), workers };
}

function request(text: string) {
  return { variables: { text }, limits: { deadlineMs: 1, maxChars: 100 }, nowMs: 0 };
}

Deno.test("TemplateHost loads once and renders in order, one at a time", async () => {
  const { host, workers } = createHost();
  assertEquals(await host.load(), undefined);
  const texts = ["a", "b", "c"];
  const outcomes = await Promise.all(texts.map((text) => host.render(request(text))));
  assertEquals(outcomes.map((outcome) => outcome.type === "rendered" && outcome.text), [
    "A",
    "B",
    "C",
  ]);
  assertEquals(workers.length, 1);
  assertEquals(workers[0]!.received.map(({ type }) => type), [
    "load",
    "render",
    "render",
    "render",
  ]);
  host.close();
  assertEquals(workers[0]!.terminated, true);
});

Deno.test("TemplateHost replaces a Worker that hangs, and those behind it are rendered", async () => {
  const { host, workers } = createHost();
  const texts = ["a", "hang", "b", "hang", "c"];
  const outcomes = await Promise.all(texts.map((text) => host.render(request(text))));
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

Deno.test("TemplateHost replaces a Worker that crashes", async () => {
  const { host, workers } = createHost();
  const outcomes = await Promise.all(["crash", "b"].map((text) => host.render(request(text))));
  assertEquals<unknown>(outcomes, [
    { type: "failed", message: "out of memory" },
    { type: "rendered", text: "B" },
  ]);
  assertEquals(workers.length, 2);
  host.close();
});

Deno.test("TemplateHost ignores what a Worker says after it was given up", async () => {
  const { host, workers } = createHost();
  await host.render(request("hang"));
  const stale = new MessageEvent("message", {
    data: { type: "done", outcome: { type: "rendered", text: "stale" } } as FromRenderer,
  });
  const next = host.render(request("b"));
  workers[0]!.onmessage?.(stale);
  assertEquals(await next, { type: "rendered", text: "B" });
  host.close();
});

Deno.test("TemplateHost.load() says why a template cannot be used", async () => {
  const refused = createHost(() => ({ type: "refused", message: "bad syntax" }));
  assertEquals(await refused.host.load(), "bad syntax");
  const hanging = createHost(() => undefined, { loadDeadlineMs: 1 });
  assertEquals(await hanging.host.load(), "parsing takes longer than 1 ms");
  const crashing = createHost(() => "crash");
  assertEquals(await crashing.host.load(), "out of memory");
  assertEquals(crashing.workers[0]!.terminated, true);
  for (const { host } of [refused, hanging, crashing]) host.close();
});

Deno.test("TemplateHost fails the renders of a Worker that does not start, each by itself", async () => {
  const { host, workers } = createHost(() => "crash");
  const outcomes = await Promise.all(["a", "b"].map((text) => host.render(request(text))));
  assertEquals(outcomes.map(({ type }) => type), ["failed", "failed"]);
  assertEquals(workers.length, 2);
  host.close();
});

Deno.test("TemplateHost refuses more renders than may wait", async () => {
  const { host } = createHost(wellBehaved, { maxWaiting: 2 });
  const texts = ["a", "b", "c", "d"];
  const outcomes = await Promise.all(texts.map((text) => host.render(request(text))));
  assertEquals(outcomes.map(({ type }) => type), ["rendered", "rendered", "rendered", "busy"]);
  host.close();
});

Deno.test("TemplateHost.close() ends renders under way, waiting and later", async () => {
  const { host } = createHost();
  const renders = ["hang", "b"].map((text) => host.render(request(text)));
  host.close();
  host.close();
  renders.push(host.render(request("c")));
  const outcomes = await Promise.all(renders);
  assertEquals(outcomes.map(({ type }) => type), ["stopping", "stopping", "stopping"]);
});

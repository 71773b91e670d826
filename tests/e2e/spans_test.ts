import { assert, assertEquals } from "@std/assert";
import { freePort, ServerProcess } from "../support/server_process.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";
const TELEMETRY = { OTEL_DENO: "true", OTEL_EXPORTER_OTLP_PROTOCOL: "console" };
const CHAT = {
  messages: [{ role: "user", content: "Tell me a story about a fox." }],
  ...{ max_tokens: 4, temperature: 0.5, top_p: 0.75, seed: 1, ignore_eos: true },
};

/** A span as Deno's console exporter prints it. */
interface PrintedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parent: string | undefined;
  readonly kind: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly events: readonly string[];
}

function spansIn(output: string): PrintedSpan[] {
  return [...output.matchAll(/^SPAN (.+) \[(\w+)\/(\w+)\] (\w+) .*\n((?: .*\n)*)/gm)]
    .map(([, name, traceId, spanId, kind, body]) => {
      const lines = body!.split("\n");
      const attributes = Object.fromEntries(
        lines.flatMap((line) => {
          const match = /^ {2}([\w.]+): (.*)$/.exec(line);
          return match === null ? [] : [[match[1]!, match[2]!]];
        }),
      );
      const events = lines.flatMap((line) => /^ {4}- (\w+) /.exec(line)?.[1] ?? []);
      const { parent, ...others } = attributes;
      return {
        ...{ name: name!, traceId: traceId!, spanId: spanId!, kind: kind!, parent, events },
        attributes: others,
      };
    });
}

/** Sends a chat with a trace context and returns the spans of that trace. */
async function spansOf(server: ServerProcess, body: object): Promise<PrintedSpan[]> {
  const response = await server.post("/v1/chat/completions", body, {
    headers: {
      "content-type": "application/json",
      traceparent: `00-${TRACE_ID}-${CALLER}-01`,
    },
  });
  assertEquals(response.status, 200);
  await response.text();
  await server.stop();
  return spansIn(server.output).filter(({ traceId }) => traceId === TRACE_ID);
}

/** The one span of a name, which is below `parent`. */
function below(spans: readonly PrintedSpan[], name: string, parent: string): PrintedSpan {
  const found = spans.filter((span) => span.name === name);
  assertEquals(found.map((span) => span.parent), [parent], name);
  return found[0]!;
}

Deno.test("the spans of a streamed chat nest below the caller's, and say what was used", async () => {
  using server = await ServerProcess.start(["--device", "cpu"], TELEMETRY);
  const spans = await spansOf(server, { ...CHAT, stream: true });
  const http = below(spans, "POST", CALLER);
  assertEquals(http.kind, "Server");
  const chat = below(spans, "chat quire-demo", http.spanId);
  for (
    const [name, value] of Object.entries({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "quire",
      "gen_ai.request.model": "quire-demo",
      "gen_ai.request.max_tokens": "4",
      "gen_ai.request.temperature": "0.5",
      "gen_ai.request.top_p": "0.75",
      "gen_ai.usage.output_tokens": "4",
      "gen_ai.usage.cache_read.input_tokens": "0",
      "gen_ai.response.finish_reasons": '["length"]',
    })
  ) assertEquals([name, chat.attributes[name]], [name, value]);
  assert(Number(chat.attributes["gen_ai.usage.input_tokens"]) > 5);
  const tokenize = below(spans, "tokenize", chat.spanId);
  assertEquals(
    tokenize.attributes["gen_ai.usage.input_tokens"],
    chat.attributes["gen_ai.usage.input_tokens"],
  );
  assertEquals(below(spans, "queue", chat.spanId).events, ["queue"]);
  assertEquals(below(spans, "prefill", chat.spanId).events, ["admit", "chunk"]);
  assertEquals(below(spans, "decode", chat.spanId).events, ["first_token", "finish"]);
  assertEquals(spans.length, 6);
});

Deno.test("the spans of each sample of a chat stand side by side, also under deno serve", async () => {
  using server = await ServerProcess.startByDenoServe(freePort(), ["--device", "cpu"], {
    env: TELEMETRY,
  });
  const spans = await spansOf(server, { ...CHAT, n: 2 });
  const http = below(spans, "POST", CALLER);
  const chat = below(spans, "chat quire-demo", http.spanId);
  assertEquals(chat.attributes["gen_ai.usage.output_tokens"], "8");
  for (const name of ["queue", "prefill", "decode"]) {
    const parts = spans.filter((span) => span.name === name && span.parent === chat.spanId);
    assertEquals(parts.map(({ attributes }) => attributes["quire.sequence"]).sort(), ["0", "1"]);
  }
});

Deno.test("deno task start needs no further permissions for spans", async () => {
  using server = await ServerProcess.startTask("start", ["--device", "cpu"], TELEMETRY);
  const spans = await spansOf(server, CHAT);
  const chat = below(spans, "chat quire-demo", below(spans, "POST", CALLER).spanId);
  below(spans, "decode", chat.spanId);
});

Deno.test("without OTEL_DENO there are no spans", async () => {
  using server = await ServerProcess.start(["--device", "cpu"], {
    OTEL_EXPORTER_OTLP_PROTOCOL: "console",
  });
  assertEquals(await spansOf(server, CHAT), []);
});

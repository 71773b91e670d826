import { assert, assertEquals } from "@std/assert";
import { Hono } from "hono";
import { type SseHandlers, streamSse } from "../../src/http/sse.ts";

async function open(handlers: Partial<SseHandlers>, keepAliveMs = 60_000): Promise<Response> {
  const app = new Hono().get(
    "/",
    (c) => streamSse(c, keepAliveMs, { write: async () => {}, onGone: () => {}, ...handlers }),
  );
  return await app.request("/");
}

/** Also fails on a timer left behind. */
const NO_LEAKS = { sanitizeOps: true, sanitizeResources: true };

Deno.test(
  "streamSse() writes payloads as events, several at once, and the end",
  NO_LEAKS,
  async () => {
    const response = await open({
      write: async (sse) => {
        await sse.send([{ a: "line\nbreak" }, 2]);
        await sse.done();
      },
    });
    assertEquals(
      await response.text(),
      'data: {"a":"line\\nbreak"}\n\ndata: 2\n\ndata: [DONE]\n\n',
    );
  },
);

Deno.test(
  "streamSse() keeps a quiet stream alive with comments until it speaks",
  NO_LEAKS,
  async () => {
    const { promise: heard, resolve: speak } = Promise.withResolvers<void>();
    const response = await open({
      write: async (sse) => {
        await heard;
        await sse.send([1]);
      },
    }, 1);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (text.split(": keep-alive\n\n").length < 3) text += (await reader.read()).value ?? "";
    speak();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
    assert(/^(: keep-alive\n\n){2,}data: 1\n\n$/.test(text), text);
  },
);

Deno.test("streamSse() says when the reader has gone and stops its timer", NO_LEAKS, async () => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const response = await open({
    write: async (sse) => {
      await gone;
      await sse.send(["nobody reads this"]);
    },
    onGone: resolve,
  }, 1);
  await response.body!.cancel();
  await gone;
});

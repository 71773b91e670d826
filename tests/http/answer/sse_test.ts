import { assert, assertEquals } from "@std/assert";
import { Hono } from "hono";
import { type SseHandlers, streamSse } from "../../../src/http/answer/sse.ts";

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
  "streamSse() keeps a stream that has begun alive with comments until it speaks",
  NO_LEAKS,
  async () => {
    const { promise: heard, resolve: speak } = Promise.withResolvers<void>();
    const response = await open({
      write: async (sse) => {
        await sse.send([0]);
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
    assert(/^data: 0\n\n(: keep-alive\n\n){2,}data: 1\n\n$/.test(text), text);
  },
);

for (
  const [name, keepAliveMs, first] of [
    ["before the first event", 1, []],
    ["at all with 0", 0, ["first"]],
  ] as const
) {
  Deno.test(
    `streamSse() sends no comment ${name}, however long the silence`,
    NO_LEAKS,
    async () => {
      const response = await open({
        write: async (sse) => {
          if (first.length > 0) await sse.send(first);
          // Timers run in order of time: a comment would have been written long before.
          await new Promise((resolve) => setTimeout(resolve, 50));
          await sse.send(["last"]);
        },
      }, keepAliveMs);
      const events = [...first, "last"].map((text) => `data: "${text}"\n\n`);
      assertEquals(await response.text(), events.join(""));
    },
  );
}

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

import { assertEquals } from "@std/assert";
import type { FromRenderer, ToRenderer } from "../../src/tokenizer/template_messages.ts";

const WORKER = new URL("../../src/tokenizer/chat_template_worker.ts", import.meta.url);

/** Sends the messages one after the other and collects the answers. */
async function converse(messages: readonly ToRenderer[]): Promise<FromRenderer[]> {
  const worker = new Worker(WORKER, { type: "module" });
  const answers: FromRenderer[] = [];
  for (const message of messages) {
    const answer = new Promise<FromRenderer>((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
    });
    worker.postMessage(message);
    answers.push(await answer);
  }
  worker.terminate();
  return answers;
}

Deno.test("chat_template_worker answers each message once", async () => {
  const limits = { deadlineMs: 60_000, maxChars: 100 };
  const render = (a: unknown): ToRenderer => ({
    type: "render",
    request: { variables: { a }, limits, nowMs: new Date(2025, 0, 2).getTime() },
  });
  assertEquals(
    await converse([
      { type: "load", source: "{{ a }} {{ strftime_now('%d') }}" },
      render("x"),
      render("y".repeat(101)),
    ]),
    [
      { type: "loaded" },
      { type: "done", outcome: { type: "rendered", text: "x 02" } },
      { type: "done", outcome: { type: "limit", message: "makes a text of over 100 characters" } },
    ],
  );
  const [refused] = await converse([{ type: "load", source: "{% if %}" }]);
  assertEquals(refused!.type, "refused");
});

import { assertEquals } from "@std/assert";
import type {
  ConversationOutcome,
  RenderRequest,
  TemplateSource,
} from "../../src/tokenizer/conversation_renderer.ts";
import type { FromWorker, ToWorker } from "../../src/tokenizer/worker_messages.ts";

type ToRenderer = ToWorker<TemplateSource, RenderRequest>;
type FromRenderer = FromWorker<ConversationOutcome>;

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
    type: "run",
    request: { messages: [], variables: { a }, limits, nowMs: new Date(2025, 0, 2).getTime() },
  });
  assertEquals(
    await converse([
      {
        type: "load",
        load: { source: "{{ a }} {{ strftime_now('%d') }}", controlTokens: [] },
      },
      render("x"),
      render("y".repeat(101)),
    ]),
    [
      { type: "loaded" },
      { type: "done", outcome: { type: "rendered", text: "x 02", placeholders: {} } },
      { type: "done", outcome: { type: "limit", message: "makes a text of over 100 characters" } },
    ],
  );
  const [refused] = await converse([{
    type: "load",
    load: { source: "{% if %}", controlTokens: [] },
  }]);
  assertEquals(refused!.type, "refused");
});

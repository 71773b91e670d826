import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type AbortableAsyncIterator, type ChatResponse, Ollama } from "ollama";
import { ServerProcess } from "../support/server_process.ts";

const MODEL = "quire-demo";
const unsanitized = { sanitizeOps: false, sanitizeResources: false };
const HELLO = [{ role: "user", content: "Hello!" }];
const STORY = [{ role: "user", content: "Tell me a story about a fox and a lantern." }];

async function textOf(
  stream: AbortableAsyncIterator<ChatResponse>,
): Promise<[string, ChatResponse]> {
  let text = "";
  let last: ChatResponse | undefined;
  for await (const part of stream) {
    text += part.message.content;
    last = part;
  }
  return [text, last!];
}

Deno.test({
  name: "the client of Ollama lists, describes, chats, generates, is refused and aborts",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.start(["--device", "cpu"]);
    try {
      const ollama = new Ollama({ host: server.url });

      const { models } = await ollama.list();
      assertEquals(models.map(({ name }) => name), [MODEL]);
      const shown = await ollama.show({ model: MODEL });
      assert(shown.template.length > 0 && shown.capabilities.includes("completion"));
      const running = await ollama.ps();
      assertEquals(running.models.length, 1);

      const chat = await ollama.chat({ model: MODEL, messages: HELLO });
      assertEquals(chat.message.content, "Hello! How can I help you?");
      assertEquals([chat.done_reason, chat.prompt_eval_count], ["stop", 11]);

      const options = { temperature: 0, num_predict: 12, num_ctx: 256 };
      const whole = await ollama.chat({ model: MODEL, messages: STORY, options });
      assertEquals([whole.done_reason, whole.eval_count], ["length", 12]);
      const stream = await ollama.chat({ model: MODEL, messages: STORY, options, stream: true });
      const [text, last] = await textOf(stream);
      assertEquals(text, whole.message.content);
      assertEquals([last.done, last.eval_count], [true, 12]);

      const prompt = "Once upon a time";
      const raw = await ollama.generate({ model: MODEL, prompt, raw: true, options });
      assertStringIncludes(raw.response ?? "", " there was a");

      const format = { type: "object", properties: { a: { enum: ["x", "y"] } }, required: ["a"] };
      const json = await ollama.chat({ model: MODEL, messages: HELLO, format });
      assert(["x", "y"].includes(JSON.parse(json.message.content).a));

      await assertRejects(
        () => ollama.chat({ model: "nothing", messages: HELLO }),
        Error,
        "nothing",
      );
      const long = ollama.chat({ model: MODEL, messages: HELLO, options: { num_ctx: 1e6 } });
      await assertRejects(() => long, Error, "options.num_ctx must be at most");

      const aborted = await ollama.chat({ model: MODEL, messages: STORY, stream: true });
      await assertRejects(async () => {
        for await (const _ of aborted) aborted.abort();
      });
      await server.idle();
    } finally {
      await server.stop();
    }
  },
});

Deno.test({
  name: "keys with limits: refused beyond them, told how long, and the other key goes on",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.start([
      "--device",
      "cpu",
      "--api-key",
      "k1 name=alice tokens-per-minute=20",
      "--api-key",
      "k2",
      "--metrics-access",
      "open",
    ]);
    try {
      const ask = (key: string) => {
        const headers = { "authorization": `Bearer ${key}`, "content-type": "application/json" };
        const body = JSON.stringify({ messages: HELLO });
        return server.fetch("/v1/chat/completions", { method: "POST", headers, body });
      };
      assertEquals((await ask("k1")).status, 200);
      const refused = await ask("k1");
      assertEquals(refused.status, 429);
      assert(Number(refused.headers.get("retry-after")) > 1);
      assertStringIncludes((await refused.json()).error.message, "The key alice");
      assertEquals((await ask("k2")).status, 200);
      await server.idle();
      assert(!server.output.includes("k1"), "a key is shown");
    } finally {
      await server.stop();
    }
  },
});

/**
 * The thin server over llama.cpp: what it answers, and how it uses its slots.
 *
 * Runs where `QUIRE_TEST_LLAMA_CPP` names a directory, into which npm installs `node-llama-cpp`
 * unless it is there.
 */
import { assert, assertEquals } from "@std/assert";
import { installLlama } from "../../../bench/peers/install_llama.ts";
import { type AnswerPart, OpenAiClient, type Usage } from "../../../src/client/openai_client.ts";
import { demoGguf } from "../../support/gguf_checkpoint.ts";

const VARIABLE = "QUIRE_TEST_LLAMA_CPP";

const folder = Deno.env.get(VARIABLE);
const installed = folder === undefined
  ? { missing: `${VARIABLE} names no directory to install llama.cpp into` }
  : await installLlama(folder);
// deno-lint-ignore no-console -- a skip must say why
if ("missing" in installed) console.warn(`skipped: ${installed.missing}`);

/** Starts it with one slot, and waits for the address that it prints. */
async function start(install: string, model: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", "--no-config", "--node-modules-dir=manual"],
      ...["bench/peers/llama_server.ts", install, model],
      ...["--port", "0", "--slots", "1", "--threads", "1"],
    ],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { value, done } = await reader.read();
    assert(done !== true, `it ended: ${text}`);
    text += value;
    const url = /^Ready (\S+)$/m.exec(text)?.[1];
    if (url === undefined) continue;
    return { client: new OpenAiClient({ baseUrl: `${url}/v1`, fetch }), child, reader };
  }
}

async function read(parts: AsyncIterable<AnswerPart>) {
  let text = "";
  let usage: Usage | undefined;
  for await (const part of parts) {
    text += part.text;
    usage = part.usage ?? usage;
  }
  return { text, usage };
}

Deno.test({
  name:
    "llama.cpp behind the thin server answers a chat as Quire does, keeps a slot's beginning, " +
    "and gives the slot back when its reader leaves",
  ignore: "missing" in installed,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    if ("missing" in installed) return;
    const dir = await Deno.makeTempDir();
    await Deno.writeFile(`${dir}/demo.gguf`, demoGguf("F16"));
    const { client, child, reader } = await start(installed.dir, `${dir}/demo.gguf`);
    try {
      assertEquals(await client.models(), ["demo"]);
      const fields = { model: "demo", messages: [{ role: "user", content: "Hello!" } as const] };
      // The last token of a prompt is always computed; the end token counts, as it does in Quire.
      const usage = { promptTokens: 11, completionTokens: 11 };
      for (const cachedTokens of [0, 10]) {
        assertEquals(await read(client.chat(fields)), {
          text: "Hello! How can I help you?",
          usage: { ...usage, cachedTokens },
        });
      }
      const stop = new AbortController();
      const long = { model: "demo", prompt: "Once upon a time", max_tokens: 900, ignore_eos: true };
      await client.complete(long, stop.signal).next();
      stop.abort();
      // There is one slot: an answer means that it was given back.
      const { text } = await read(client.chat(fields, AbortSignal.timeout(60_000)));
      assertEquals(text, "Hello! How can I help you?");
      const whole = await client.chatWhole(fields) as { choices: unknown };
      assertEquals(whole.choices, [
        { index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" },
      ]);
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

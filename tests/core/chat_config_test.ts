import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseChatConfig, parseRunConfig } from "../../src/core/chat_config.ts";
import { StartupError } from "../../src/core/errors.ts";

function chat(args: string[], env: Record<string, string> = {}) {
  return parseChatConfig(args, env)!;
}

function run(args: string[], hasInput = false) {
  const { model, words } = parseRunConfig(args, {}, { hasInput })!;
  return { model, words };
}

function refusal(work: () => unknown): string {
  return assertThrows(work, StartupError).message;
}

Deno.test("parseChatConfig() takes a model, or a URL and a key, and settings of the answer", () => {
  const config = chat([
    "org/m",
    "--temperature",
    "0.5",
    "--top-p=0.9",
    "-n",
    "20",
    "-s",
    "7",
    "-sys",
    "Be kind",
  ]);
  assertEquals(config.model, "org/m");
  assertEquals(config.answer, {
    system: "Be kind",
    fields: { max_tokens: 20, temperature: 0.5, top_p: 0.9, seed: 7 },
  });
  assertEquals([config.engine.prefixStore, config.engine.logLevel], ["none", "error"]);
  const bounded = chat([], { QUIRE_GPU_MEMORY_BYTES: "4GiB" });
  assertEquals(bounded.engine.gpuMemoryBytes, 4 * 2 ** 30);
  const remote = chat(["--url", "h:1"], { QUIRE_API_KEY: "key name=alice" });
  assertEquals([remote.url, remote.apiKey, remote.model], ["h:1", "key name=alice", undefined]);
  assertEquals(parseChatConfig(["--help"], {}), undefined);
});

Deno.test("parseChatConfig() refuses a prompt, two models and values beyond their bounds", () => {
  assertStringIncludes(refusal(() => chat(["m", "Hello"])), "quire run answers one prompt");
  assertStringIncludes(refusal(() => chat(["m", "--model", "n"])), 'Unexpected argument "m"');
  assertStringIncludes(
    refusal(() => chat(["--temperature", "3"])),
    "must be a number from 0 to 2, got",
  );
  assertStringIncludes(refusal(() => chat(["--top-p", "x"])), "must be a number from 0 to 1, got");
  assertStringIncludes(refusal(() => chat(["--port", "1"])), "Unknown flag --port");
  assertStringIncludes(refusal(() => chat(["--int8-activations", "on"])), "quantized weights");
});

Deno.test("parseRunConfig() tells the model from the prompt", () => {
  assertEquals(run(["Hello!"]), { model: undefined, words: ["Hello!"] });
  assertEquals(run(["org/m", "Hello!"]), { model: "org/m", words: ["Hello!"] });
  assertEquals(run(["org/m", "two", "words"]), { model: "org/m", words: ["two", "words"] });
  assertEquals(run(["org/m"], true), { model: "org/m", words: [] });
  assertEquals(run(["--url", "h", "Hello!"], true), { model: undefined, words: ["Hello!"] });
  assertEquals(run(["-m", "org/m", "two", "words"]), { model: "org/m", words: ["two", "words"] });
  assertEquals(run([], true), { model: undefined, words: [] });
});

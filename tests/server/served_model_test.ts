import { assertEquals } from "@std/assert";
import { thinkingOf } from "../../src/server/served_model.ts";
import { hasSharedData, readSharedData } from "../tools/templates.ts";

const MARKS = { begin: "<think>", end: "</think>" };

Deno.test("thinkingOf() reads a template's variables, and not its texts", () => {
  assertEquals(thinkingOf("{{ messages }}"), { templateVariables: [] });
  assertEquals(thinkingOf('{{ "enable_thinking" }}{{ message.thinking }}thinking'), {
    templateVariables: [],
  });
  const open = "{% if thinking %}<think>{% endif %}{{ reasoning_effort }}</think>";
  assertEquals(thinkingOf(open), {
    templateVariables: ["thinking", "reasoning_effort"],
    thinking: MARKS,
  });
});

Deno.test("thinkingOf() knows real models by their templates", () => {
  const known: [string, readonly string[], boolean][] = [
    ["Qwen-Qwen3-0.6B", ["enable_thinking"], true],
    ["Qwen-Qwen2.5-7B-Instruct", [], false],
    ["HuggingFaceTB-SmolLM3-3B", ["enable_thinking"], true],
    ["deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", ["enable_thinking"], true],
    ["meta-llama-Llama-3.2-3B-Instruct", [], false],
  ];
  for (const [name, templateVariables, thinks] of known) {
    if (!hasSharedData(name)) continue;
    const found = thinkingOf(readSharedData(name));
    assertEquals([found.templateVariables, found.thinking !== undefined], [
      ...[templateVariables, thinks],
    ], name);
  }
});

// deno-lint-ignore-file no-console -- a program that reports line by line
import process from "node:process";
import { AI_SDK } from "./ai_sdk_scenarios.ts";
import { ANTHROPIC } from "./anthropic_scenarios.ts";
import { checked } from "./checked_fetch.ts";
import { LANGCHAIN } from "./langchain_scenarios.ts";
import { OLLAMA } from "./ollama_scenarios.ts";
import { OPENAI } from "./openai_scenarios.ts";

/**
 * Runs the scenarios against the server at a URL, one after the other, in Deno or in Node:
 * `main.ts URL MODEL [WORDS]`, those whose names have these words. Prints a line of JSON for each:
 * what went wrong, and how many answers were checked.
 */
const [url, model, words = ""] = process.argv.slice(2);
const server = { url: url!, model: model! };
const scenarios = [...OPENAI, ...ANTHROPIC, ...AI_SDK, ...LANGCHAIN, ...OLLAMA];
for (const [name, run] of scenarios.filter(([name]) => name.includes(words))) {
  const before = await checked();
  let error: string | undefined;
  try {
    await run(server);
    await checked();
  } catch (cause) {
    error = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
  }
  const numChecked = await checked().catch(() => NaN) - before;
  console.log(JSON.stringify({ name, numChecked, error }));
}

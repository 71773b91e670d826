import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { familyGoldens, withFamily } from "../support/family_golden.ts";
import { ServerProcess } from "../support/server_process.ts";

/** Greedy tokens after `prompt`, and how many of its tokens were found in the prefix cache. */
async function complete(server: ServerProcess, prompt: readonly number[], maxTokens: number) {
  const response = await server.post("/v1/completions", {
    ...{ prompt, max_tokens: maxTokens, temperature: 0, ignore_eos: true },
    return_token_ids: true,
  });
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  const tokens: number[] = answer.choices[0].token_ids;
  return { tokens, numCachedTokens: answer.usage.prompt_tokens_details.cached_tokens };
}

Deno.test("a model with windows is served out of one pool, and its tail is found", async () => {
  const golden = familyGoldens().find(({ name }) => name === "gemma3_text");
  assert(golden !== undefined, "there is no golden case of Gemma 3");
  const { prompt, tokens } = golden;
  await withFamily(golden, async (modelDir) => {
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      await Deno.copyFile(`${DEMO_DIR}/${name}`, `${modelDir}/${name}`);
    }
    const flags = ["--device", "cpu", "--kv-cache-dtype", "f32", "--max-num-batched-tokens", "64"];
    using server = await ServerProcess.start(["--model", modelDir, ...flags]);
    assertStringIncludes(server.output, "shared by full and sliding_window of");
    const first = await complete(server, prompt, tokens.length);
    assertEquals(first, { tokens: [...tokens], numCachedTokens: 0 });
    // All but the last token of the prompt, in whole blocks of 16.
    const numWhole = 16 * Math.floor((prompt.length - 1) / 16);
    const again = await complete(server, prompt, tokens.length);
    assertEquals(again, { tokens: [...tokens], numCachedTokens: numWhole });
    const audit = await server.fetch("/admin/kv/check");
    assertEquals(audit.status, 200, await audit.text());
    await server.stop();
  });
});

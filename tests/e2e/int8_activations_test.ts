import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { goldenPrompts } from "../support/demo_engine.ts";
import { ServerProcess } from "../support/server_process.ts";

/** Prompts whose best two tokens differ by this much everywhere: rounding to codes must not matter. */
const MIN_MARGIN = 0.1;

Deno.test({
  name: "--int8-activations on gives the golden ids of sure prompts, in prefill and decode",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const flags = ["--quantization", "int8", "--int8-activations", "on"];
    const server = await ServerProcess.start(flags);
    try {
      assertStringIncludes(server.output, "(int8, groups of 32, int8 activations)");
      const sure = goldenPrompts().filter(({ margins }) => Math.min(...margins) > MIN_MARGIN);
      assert(sure.length >= 6, `${sure.length} prompts are sure`);
      await Promise.all(sure.map(async ({ id, prompt_ids, greedy_ids }) => {
        const answer = await (await server.post("/v1/completions", {
          ...{ prompt: prompt_ids, max_tokens: greedy_ids.length, temperature: 0 },
          ...{ ignore_eos: true, return_token_ids: true },
        })).json();
        assertEquals(answer.choices[0].token_ids, greedy_ids, id);
      }));
    } finally {
      await server.stop();
    }
  },
});

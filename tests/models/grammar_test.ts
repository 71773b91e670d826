import { assert, assertEquals } from "@std/assert";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { grammarVocabulary } from "../../src/grammar/grammar_vocabulary.ts";
import { GrammarCompiler } from "../../src/grammar/grammar_compiler.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import {
  type Arrival,
  DEMO_DIR,
  DemoEngine,
  goldenPrompts,
  GREEDY_64,
} from "../support/demo_engine.ts";
import { gpuTest } from "../support/agreement.ts";
import { compiled } from "../support/grammar_sampler.ts";

const tokenizer = loadTokenizer(DEMO_DIR);

/** Random draws at temperature 1 that end where the grammar does. */
function drawn(seed: number): SamplingParams {
  return { ...GREEDY_64, temperature: 1, seed, stopTokenIds: [...tokenizer.eosTokenIds] };
}

function arrivals(): Arrival[] {
  const compiler = new GrammarCompiler(grammarVocabulary(tokenizer));
  const object = compiled(compiler, {
    type: "json_schema",
    json_schema: {
      type: "object",
      properties: { name: { type: "string" }, age: { type: "integer", maximum: 120, minimum: 0 } },
      required: ["name", "age"],
    },
  });
  const digits = compiled(compiler, { type: "regex", pattern: "[0-9]{5,30}" });
  return goldenPrompts().slice(0, 9).map(({ prompt_ids }, i): Arrival => ({
    prompt: prompt_ids,
    params: drawn(i),
    atStep: i % 4,
    ...(i % 3 === 2 ? {} : { grammar: i % 3 === 0 ? object : digits }),
  }));
}

gpuTest(
  "answers by a grammar are the same alone, in a batch and preempted, and plain ones as ever",
  async (device) => {
    const all = arrivals();
    const roomy = await DemoEngine.create(device, {}, { matchers: new GrammarMatchers() });
    const alone = [];
    for (const arrival of all) alone.push((await roomy.generate([{ ...arrival, atStep: 0 }]))[0]!);
    const together = await roomy.generate(all);
    const longest = Math.max(...all.map(({ prompt }) => prompt.length)) + 64;
    const tight = await DemoEngine.create(
      device,
      { numBlocksOverride: Math.ceil(longest / 16) + 2, maxModelLen: longest },
      { matchers: new GrammarMatchers() },
    );
    const preempted = await tight.generate(all);
    assert(tight.stats.numPreemptions > 0, "the pool is not tight");
    for (const [i, { tokens, finish }] of alone.entries()) {
      assertEquals([together[i]!.tokens, together[i]!.finish], [tokens, finish]);
      assertEquals([preempted[i]!.tokens, preempted[i]!.finish], [tokens, finish]);
    }
    const texts = alone.map(({ tokens }) => tokenizer.decode(tokens, { skipSpecialTokens: true }));
    for (const [i, text] of texts.entries()) {
      if (i % 3 === 1) assert(/^[0-9]{5,30}$/.test(text), text);
      if (i % 3 === 0 && alone[i]!.finish === "stop") {
        assertEquals(
          typeof JSON.parse(text).age,
          "number",
        );
      }
    }
  },
);

import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { loadGenerationConfig } from "../../models/generation_config.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";

function load(json: unknown) {
  let result: unknown;
  withModelDir({ "generation_config.json": JSON.stringify(json) }, (dir) => {
    result = loadGenerationConfig(dir);
  });
  return result;
}

Deno.test("loadGenerationConfig() reads the bundled model's file", () => {
  const demo = new URL("../../models/demo", import.meta.url).pathname;
  assertEquals(loadGenerationConfig(demo), { eosTokenIds: [2, 0], temperature: 0 });
});

Deno.test("loadGenerationConfig() recommends nothing without a file", () => {
  withModelDir({}, (dir) => assertEquals(loadGenerationConfig(dir), { eosTokenIds: [] }));
});

Deno.test("loadGenerationConfig() takes one end token or several, each once", () => {
  assertEquals(load({ eos_token_id: 5 }), { eosTokenIds: [5] });
  assertEquals(load({ eos_token_id: [5, 7, 5] }), { eosTokenIds: [5, 7] });
  assertEquals(load({ eos_token_id: null }), { eosTokenIds: [] });
});

Deno.test("loadGenerationConfig() reads the sampling fields", () => {
  const json = { temperature: 0.6, top_p: 0.95, top_k: 20, do_sample: true };
  assertEquals(load(json), { eosTokenIds: [], temperature: 0.6, topP: 0.95, topK: 20 });
  assertEquals(load({ repetition_penalty: 1.05 }), { eosTokenIds: [], repetitionPenalty: 1.05 });
  assertEquals(load({ repetition_penalty: null }), { eosTokenIds: [] });
  assertEquals(load({ temperature: 0 }), { eosTokenIds: [], temperature: 0 });
});

Deno.test("loadGenerationConfig() refuses values out of bounds, naming the field", () => {
  const wrong = {
    eos_token_id: [-1, 1.5, "2", 2 ** 20, new Array(65).fill(1)],
    temperature: [-0.1, 101, "1"],
    top_p: [0, 1.1, -1],
    top_k: [-1, 0.5, 2 ** 21],
    repetition_penalty: [0, -1, 101, "1.1"],
  };
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      assertThrows(
        () => load({ [field]: value }),
        StartupError,
        `generation_config.json: field "${field}`,
      );
    }
  }
});

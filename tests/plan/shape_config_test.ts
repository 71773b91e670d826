import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { DEMO_PRESET, findPreset } from "../../src/plan/presets.ts";
import { loadShape, parseShape } from "../../src/plan/shape_config.ts";

/** The fields that sizes need, with `changes` made to them. */
function json(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    model_type: "something-new",
    hidden_size: 64,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    max_position_embeddings: 512,
    ...changes,
  };
}

function refusal(changes: Record<string, unknown>): string {
  return assertThrows(() => parseShape(json(changes), "m"), StartupError).message;
}

Deno.test("loadShape() reads the bundled model as its preset states it", () => {
  assertEquals(loadShape("models/demo", DEMO_PRESET), findPreset(DEMO_PRESET));
});

Deno.test("loadShape() says when there is no config.json", () => {
  const error = assertThrows(() => loadShape("tests/plan", "m"), StartupError);
  assertEquals(error.message, "tests/plan/config.json is missing: not a model directory");
});

Deno.test("parseShape() takes an unknown family, its KV heads and head width implied", () => {
  assertEquals(parseShape(json(), "m"), {
    name: "m",
    maxModelLen: 512,
    groups: [{ kind: "full", numLayers: 4, numKvHeads: 8, headDim: 8 }],
  });
});

Deno.test("parseShape() prefers the KV heads and head width that are stated", () => {
  const [group] = parseShape(json({ num_key_value_heads: 2, head_dim: 32 }), "m").groups;
  assertEquals([group?.numKvHeads, group?.headDim], [2, 32]);
});

Deno.test("parseShape() groups layers by kind, in the order of their first layers", () => {
  const types = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"];
  const { groups, lastGroup } = parseShape(
    json({ layer_types: types, sliding_window: 128 }),
    "m",
  );
  assertEquals(groups, [
    { kind: "sliding_window", numLayers: 3, window: 128, numKvHeads: 8, headDim: 8 },
    { kind: "full", numLayers: 1, numKvHeads: 8, headDim: 8 },
  ]);
  assertEquals(lastGroup, 0);
});

Deno.test("parseShape() plans a model of several modalities by its text_config", () => {
  const wrapped = { model_type: "pictures", text_config: json({ num_hidden_layers: 3 }) };
  assertEquals(parseShape(wrapped, "m").groups[0]?.numLayers, 3);
});

Deno.test("parseShape() refuses missing and impossible sizes by field and value", () => {
  assertStringIncludes(refusal({ num_hidden_layers: undefined }), '"num_hidden_layers" is missing');
  assertStringIncludes(refusal({ num_key_value_heads: 0 }), '"num_key_value_heads" is 0');
  assertStringIncludes(refusal({ num_attention_heads: 5 }), "gives heads of 12.8");
  assertStringIncludes(refusal({ kv_lora_rank: 512 }), "latent attention");
  for (const value of [null, 7, [], "x"]) {
    assertThrows(() => parseShape(value, "m"), StartupError);
  }
});

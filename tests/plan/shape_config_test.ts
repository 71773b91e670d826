import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { parseGenericShape } from "../../src/plan/shape_config.ts";

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
  return assertThrows(() => parseGenericShape(json(changes), "m"), StartupError).message;
}

Deno.test("parseGenericShape() takes an unknown family, its KV heads and head width implied", () => {
  assertEquals(parseGenericShape(json(), "m"), {
    name: "m",
    maxModelLen: 512,
    caches: Array.from({ length: 4 }, () => ({ kind: "full", numKvHeads: 8, headDim: 8 } as const)),
  });
});

Deno.test("parseGenericShape() prefers the KV heads and head width that are stated", () => {
  const shape = parseGenericShape(json({ num_key_value_heads: 2, head_dim: 32 }), "m");
  assertEquals(shape.caches[0], { kind: "full", numKvHeads: 2, headDim: 32 });
});

Deno.test("parseGenericShape() tells layers by their kinds", () => {
  const types = ["sliding_attention", "sliding_attention", "full_attention", "chunked_attention"];
  const { caches } = parseGenericShape(
    json({ layer_types: types, sliding_window: 128, attention_chunk_size: 64 }),
    "m",
  );
  const heads = { numKvHeads: 8, headDim: 8 };
  assertEquals(caches, [
    { kind: "sliding_window", window: 128, ...heads },
    { kind: "sliding_window", window: 128, ...heads },
    { kind: "full", ...heads },
    { kind: "chunked_local", window: 64, ...heads },
  ]);
});

Deno.test("parseGenericShape() refuses missing and impossible sizes by field and value", () => {
  assertStringIncludes(refusal({ num_hidden_layers: undefined }), '"num_hidden_layers" is missing');
  assertStringIncludes(refusal({ num_key_value_heads: 0 }), '"num_key_value_heads" is 0');
  assertStringIncludes(refusal({ num_attention_heads: 5 }), "gives heads of 12.8");
  assertStringIncludes(refusal({ kv_lora_rank: 512 }), "latent attention");
  for (const value of [null, 7, [], "x"]) {
    assertThrows(() => parseGenericShape(value, "m"), StartupError);
  }
});

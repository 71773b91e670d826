import { assertEquals, assertThrows } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import { StartupError } from "../../src/core/errors.ts";
import { DEMO_PRESET } from "../../src/plan/presets.ts";
import { plannedWeights } from "../../src/plan/weight_bytes.ts";
import { loadShape, parseShape, presetShape } from "../../src/server/model_shape.ts";
import { configJson } from "../models/config_fixtures.ts";

Deno.test("loadShape() reads the bundled model as its preset states it, and as it declares itself", () => {
  const shape = loadShape("models/demo", DEMO_PRESET);
  assertEquals(shape, presetShape(DEMO_PRESET));
  const model = readModel("models/demo");
  assertEquals(shape.caches, model.caches);
  assertEquals(shape.maxModelLen, model.maxPositionEmbeddings);
  assertEquals(shape.weights!.length, model.weights.length);
});

Deno.test("loadShape() says when there is no config.json", () => {
  const error = assertThrows(() => loadShape("tests/plan", "m"), StartupError);
  assertEquals(error.message, "tests/plan/config.json is missing: not a model directory");
});

Deno.test("parseShape() plans what a family declares, gates and ups as one matrix", () => {
  const { caches, weights } = parseShape(configJson({ num_hidden_layers: 1 }), "m");
  assertEquals(caches, [{ kind: "full", numKvHeads: 8, headDim: 8 }]);
  assertEquals(weights!.map(({ rows, columns, isVector }) => [rows, columns, isVector]), [
    [256, 64, false],
    [1, 64, true],
    [3 * 64, 64, false],
    [64, 64, false],
    [1, 64, true],
    [2 * 128, 64, false],
    [64, 128, false],
    [1, 64, true],
    [256, 64, false],
  ]);
});

/** What published configs of models with experts say, and how many weights their makers count. */
const WITH_EXPERTS = [
  {
    config: {
      ...{ model_type: "qwen3_moe", hidden_size: 2048, num_hidden_layers: 48, vocab_size: 151_936 },
      ...{ num_attention_heads: 32, num_key_value_heads: 4, head_dim: 128 },
      ...{ intermediate_size: 6144, moe_intermediate_size: 768, norm_topk_prob: true },
      ...{ num_experts: 128, num_experts_per_tok: 8, max_position_embeddings: 40_960 },
    },
    numWeights: 30_532_122_624,
  },
  {
    config: {
      ...{ model_type: "olmoe", hidden_size: 2048, num_hidden_layers: 16, vocab_size: 50_304 },
      ...{ num_attention_heads: 16, num_key_value_heads: 16, intermediate_size: 1024 },
      ...{ num_experts: 64, num_experts_per_tok: 8, max_position_embeddings: 4096 },
    },
    numWeights: 6_919_161_856,
  },
  {
    config: {
      ...{ model_type: "gpt_oss", hidden_size: 2880, num_hidden_layers: 24, vocab_size: 201_088 },
      ...{ num_attention_heads: 64, num_key_value_heads: 8, head_dim: 64 },
      ...{ intermediate_size: 2880, num_local_experts: 32, num_experts_per_tok: 4 },
      quantization_config: { quant_method: "mxfp4" },
    },
    numWeights: 20_914_757_184,
  },
];

Deno.test("parseShape() counts the weights of all experts", () => {
  for (const { config, numWeights } of WITH_EXPERTS) {
    const { weights } = parseShape(config, "m");
    const counted = weights!.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    assertEquals(counted, numWeights, config.model_type);
    const routers = weights!.filter(({ keepsType }) => keepsType);
    assertEquals(routers.length, config.num_hidden_layers);
    const [f16, int8] = [0, 1].map((format) => plannedWeights({ weights: routers })[format]!.bytes);
    assertEquals(int8, f16);
  }
});

Deno.test("parseShape() plans a model that the server cannot run, without its weights", () => {
  const unknown = parseShape(configJson({ model_type: "something-new" }), "m");
  const quantized = parseShape(configJson({ quantization_config: { bits: 4 } }), "m");
  assertEquals(quantized, unknown);
  assertEquals(unknown.caches, parseShape(configJson(), "m").caches);
  assertEquals(plannedWeights(unknown), []);
});

Deno.test("parseShape() plans a model of several modalities by its text_config", () => {
  const wrapped = { model_type: "pictures", text_config: configJson({ num_hidden_layers: 3 }) };
  const shape = parseShape(wrapped, "m");
  assertEquals(shape.caches.length, 3);
  assertEquals(shape.weights!.length, 1 + 3 * 6 + 2);
});

Deno.test("parseShape() refuses missing and impossible sizes of a known family, too", () => {
  const error = assertThrows(
    () => parseShape(configJson({ num_hidden_layers: 0 }), "m"),
    StartupError,
  );
  assertEquals(error.message.startsWith('config.json: field "num_hidden_layers" is 0'), true);
  for (const value of [null, 7, [], "x"]) {
    assertThrows(() => parseShape(value, "m"), StartupError);
  }
});

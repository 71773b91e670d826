import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { loadModelConfig, parseModelConfig } from "../../models/model_config.ts";
import { configJson } from "./config_fixtures.ts";

const DEMO = new URL("../../models/demo", import.meta.url).pathname;

function refuses(changes: Record<string, unknown>, part: string): void {
  const error = assertThrows(() => parseModelConfig(configJson(changes)), StartupError, part);
  assertEquals(error.message.startsWith("config.json: "), true);
}

Deno.test("loadModelConfig() reads the bundled model's config.json", () => {
  assertEquals(loadModelConfig(DEMO), {
    modelType: "llama",
    hiddenSize: 192,
    numLayers: 6,
    numHeads: 6,
    numKvHeads: 2,
    headDim: 32,
    intermediateSize: 512,
    vocabSize: 2048,
    maxPositionEmbeddings: 2048,
    ropeTheta: 10000,
    rmsNormEps: 1e-5,
    tieWordEmbeddings: true,
    normalizesHeads: false,
    attentionBias: false,
    mlpBias: false,
  });
});

Deno.test("loadModelConfig() says when there is no config.json", () => {
  assertThrows(() => loadModelConfig(`${DEMO}/none`), StartupError, "config.json is missing");
});

Deno.test("parseModelConfig() fills in what Llama configs leave out", () => {
  const config = parseModelConfig(configJson());
  assertEquals(config.numKvHeads, 8);
  assertEquals(config.headDim, 8);
  assertEquals(config.ropeTheta, 10000);
  assertEquals(config.rmsNormEps, 1e-6);
  assertEquals("ropeScaling" in config, false);
  assertEquals(
    [config.tieWordEmbeddings, config.attentionBias, config.mlpBias],
    [false, false, false],
  );
  assertEquals(parseModelConfig(configJson({ head_dim: null })).headDim, 8);
});

Deno.test("parseModelConfig() lets head_dim differ from hidden_size over heads", () => {
  assertEquals(parseModelConfig(configJson({ head_dim: 32 })).headDim, 32);
  assertEquals(parseModelConfig(configJson({ head_dim: 32, hidden_size: 65 })).hiddenSize, 65);
});

Deno.test("parseModelConfig() returns a frozen object", () => {
  const config = parseModelConfig(configJson());
  assertThrows(() => Object.assign(config, { numLayers: 9 }), TypeError);
});

Deno.test("parseModelConfig() refuses an unknown model_type by name", () => {
  refuses({ model_type: "mamba" }, 'model_type is "mamba": known are llama');
  refuses({ model_type: 3 }, 'field "model_type" is 3');
  refuses({ model_type: undefined }, 'field "model_type" is missing');
});

Deno.test("parseModelConfig() refuses numbers out of bounds, naming the field", () => {
  const bounded: Record<string, unknown[]> = {
    hidden_size: [0, -64, 1.5, "64", 65_537, null],
    num_hidden_layers: [0, 513],
    num_attention_heads: [0, 1025],
    num_key_value_heads: [0, 2000],
    head_dim: [0, 7, 514],
    intermediate_size: [0, 2 ** 21],
    vocab_size: [0, 2 ** 20 + 1],
    max_position_embeddings: [0, 2 ** 24 + 1],
    rms_norm_eps: [0, -1, 1],
    rope_theta: [0, 1e13, "10000"],
    tie_word_embeddings: ["true"],
  };
  for (const [field, values] of Object.entries(bounded)) {
    for (const value of values) refuses({ [field]: value }, `field "${field}" is `);
  }
  refuses({ vocab_size: undefined }, 'field "vocab_size" is missing');
});

Deno.test("parseModelConfig() refuses heads that do not fit together", () => {
  refuses({ num_key_value_heads: 3 }, "is 8: must be a multiple of");
  refuses({ hidden_size: 60 }, "gives heads of 7.5");
  refuses({ hidden_size: 56 }, "gives heads of 7:");
  refuses({ hidden_size: 8192 }, "gives heads of 1024");
});

Deno.test("parseModelConfig() refuses what the model code would get wrong", () => {
  refuses({ hidden_act: "gelu" }, 'field "hidden_act" is "gelu"');
  refuses({ partial_rotary_factor: 0.5 }, 'field "partial_rotary_factor" is 0.5');
  refuses({ quantization_config: { bits: 4 } }, "quantized checkpoints are not supported");
  parseModelConfig(configJson({ quantization_config: null }));
});

Deno.test("parseModelConfig() takes Qwen3, whose heads are normalized, but no sliding window", () => {
  const qwen3 = { model_type: "qwen3", head_dim: 128, use_sliding_window: false };
  assertEquals(parseModelConfig(configJson(qwen3)).normalizesHeads, true);
  refuses({ ...qwen3, use_sliding_window: true }, "sliding windows are not supported");
});

Deno.test("parseModelConfig() refuses what is not an object", () => {
  for (const json of [null, [], "llama", 7]) {
    assertThrows(() => parseModelConfig(json), StartupError, "config.json: the whole file is");
  }
});

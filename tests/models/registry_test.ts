import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import type { Model } from "../../models/model.ts";
import { StartupError } from "../../src/core/errors.ts";
import { KNOWN_MODEL_TYPES, parseModel, readModel } from "../../models/registry.ts";
import { familyGoldens } from "../support/family_golden.ts";
import { modelGraph } from "../support/model_graph.ts";
import { configJson } from "./config_fixtures.ts";

const DEMO = new URL("../../models/demo", import.meta.url).pathname;

function refuses(changes: Record<string, unknown>, part: string): void {
  const error = assertThrows(() => parseModel(configJson(changes)), StartupError, part);
  assertEquals(error.message.startsWith("config.json: "), true);
}

/** A constant of each of a model's calls with this label. */
function constantsOf(model: Model, label: string, constant: string): unknown[] {
  return modelGraph(model, { dtype: "f32", tuning: SOFTWARE_TUNING })
    .filter((call) => call.label === label).flatMap(({ constants }) => constants[constant] ?? []);
}

Deno.test("readModel() reads the bundled model's config.json", () => {
  const model = readModel(DEMO);
  assertEquals([model.modelType, model.vocabSize, model.maxPositionEmbeddings], [
    ...["llama", 2048, 2048],
  ]);
  const heads = { numKvHeads: 2, headDim: 32 };
  assertEquals(model.caches, Array.from({ length: 6 }, () => ({ kind: "full", ...heads })));
  assertEquals(model.attention, Array.from({ length: 6 }, () => ({ numHeads: 6, ...heads })));
  assertEquals(model.buffers, {
    hidden: { per: "token", words: 192 },
    normed: { per: "token", words: 192 },
    qkv: { per: "token", words: (6 + 2 * 2) * 32 },
    attended: { per: "token", words: 6 * 32 },
    inner: { per: "token", words: 512 },
    last: { per: "draw", words: 192 },
  });
  assertEquals(model.positionTables, {
    rope: { rotaryDim: 32, theta: 10_000, scaling: undefined },
  });
  // Tied: the embedding is the head, which a checkpoint may carry all the same.
  assertEquals(model.ignoredTensors, ["lm_head.weight"]);
  assertEquals(model.warnings, []);
});

Deno.test("readModel() says when there is no config.json", () => {
  assertThrows(() => readModel(`${DEMO}/none`), StartupError, "config.json is missing");
});

Deno.test("parseModel() fills in what Llama configs leave out", () => {
  const model = parseModel(configJson());
  assertEquals(model.attention[0], { numHeads: 8, numKvHeads: 8, headDim: 8 });
  assertEquals(model.positionTables.rope!.theta, 10_000);
  assertEquals(model.positionTables.rope!.scaling, undefined);
  // Untied: a matrix of its own.
  assertEquals(model.weights.at(-1)!.tensors, ["lm_head.weight"]);
  assertEquals(model.ignoredTensors, []);
  assertEquals(parseModel(configJson({ head_dim: null })).attention[0]!.headDim, 8);
});

Deno.test("parseModel() asks for no output projection of a checkpoint that has none", () => {
  const lastTensors = (architectures: unknown) =>
    parseModel(configJson({ architectures })).weights.at(-1)!.tensors;
  for (const name of ["LlamaModel", "LlamaForSequenceClassification"]) {
    assertEquals(lastTensors([name]), ["model.norm.weight"]);
  }
  for (
    const all of [undefined, null, "LlamaModel", [], ["LlamaForCausalLM"], ["LlamaLMHeadModel"]]
  ) {
    assertEquals(lastTensors(all), ["lm_head.weight"], JSON.stringify(all));
  }
});

Deno.test("parseModel() lets head_dim differ from hidden_size over heads", () => {
  assertEquals(parseModel(configJson({ head_dim: 32 })).attention[0]!.headDim, 32);
  const odd = parseModel(configJson({ head_dim: 32, hidden_size: 68 }));
  assertEquals(odd.buffers.hidden!.words, 68);
  assertEquals(odd.buffers.attended!.words, 8 * 32);
});

Deno.test("parseModel() returns a frozen object", () => {
  const model = parseModel(configJson());
  assertThrows(() => Object.assign(model, { vocabSize: 9 }), TypeError);
  assertThrows(() => Object.assign(model.buffers, { hidden: 9 }), TypeError);
});

Deno.test("parseModel() refuses an unknown model_type by name", () => {
  refuses({ model_type: "mamba" }, 'model_type is "mamba": known are llama');
  refuses({ model_type: 3 }, 'field "model_type" is 3');
  refuses({ model_type: undefined }, 'field "model_type" is missing');
});

Deno.test("parseModel() refuses models of several modalities, and names the text model it knows", () => {
  const text = configJson();
  refuses(
    { model_type: "pictures", text_config: text },
    'model_type is "pictures", of several modalities, which are not supported; its text model ' +
      'alone, "llama", would be',
  );
  refuses({ model_type: "pictures", text_config: { model_type: "x" } }, "known are llama");
  refuses({ model_type: "pictures", text_config: 7 }, "known are llama");
});

Deno.test("parseModel() refuses numbers out of bounds, naming the field", () => {
  const bounded: Record<string, unknown[]> = {
    hidden_size: [0, -64, 1.5, "64", 65_540, 65, null],
    num_hidden_layers: [0, 513],
    num_attention_heads: [0, 1025],
    num_key_value_heads: [0, 2000],
    head_dim: [0, 7, 6, 516],
    intermediate_size: [0, 2 ** 21, 127],
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

Deno.test("parseModel() refuses heads that do not fit together", () => {
  refuses({ num_key_value_heads: 3 }, "is 8: must be a multiple of");
  refuses({ hidden_size: 60 }, "gives heads of 7.5");
  refuses({ hidden_size: 56 }, "gives heads of 7:");
  refuses({ hidden_size: 8192 }, "gives heads of 1024");
});

Deno.test("parseModel() refuses what the model code would get wrong", () => {
  refuses({ hidden_act: "gelu" }, 'field "hidden_act" is "gelu"');
  refuses({ partial_rotary_factor: 0.5 }, 'field "partial_rotary_factor" is 0.5');
  refuses({ hidden_act: "gelu" }, "known are silu");
  refuses({ quantization_config: { bits: 4 } }, "quantized checkpoints are not supported");
  refuses({ attention_bias: "yes" }, 'field "attention_bias" is "yes"');
  parseModel(configJson({ quantization_config: null }));
});

Deno.test("parseModel() takes Qwen3, whose heads are normalized", () => {
  const qwen3 = { model_type: "qwen3", head_dim: 128, use_sliding_window: false };
  const norms = parseModel(configJson(qwen3)).weights.filter(({ name }) => /head_norms/.test(name));
  assertEquals(norms.map(({ shapes }) => shapes), [[[128], [128]], [[128], [128]]]);
  assertEquals(norms[1]!.tensors, [
    "model.layers.1.self_attn.q_norm.weight",
    "model.layers.1.self_attn.k_norm.weight",
  ]);
});

Deno.test("parseModel() gives layers of Qwen and of Mistral the windows that their files ask for", () => {
  const windowsOf = (changes: Record<string, unknown>) =>
    parseModel(configJson({ num_hidden_layers: 3, ...changes })).caches
      .map((cache) => cache?.kind === "sliding_window" ? cache.window : cache?.kind);
  for (const model_type of ["qwen2", "qwen3"]) {
    const qwen = { model_type, sliding_window: 64, max_window_layers: 1 };
    assertEquals(windowsOf(qwen), ["full", "full", "full"]);
    assertEquals(windowsOf({ ...qwen, use_sliding_window: true }), ["full", 64, 64]);
  }
  const model_type = "mistral";
  assertEquals(windowsOf({ model_type, sliding_window: 64 }), [64, 64, 64]);
  assertEquals(windowsOf({ model_type, sliding_window: null }), ["full", "full", "full"]);
  // Mistral's first checkpoints have windows of 4,096 that their files need not say.
  assertEquals(windowsOf({ model_type }), [4096, 4096, 4096]);
  refuses({ model_type, sliding_window: 0 }, 'field "sliding_window" is 0');
  refuses({ model_type, layer_types: ["linear_attention"] }, "known are full_attention");
});

Deno.test("parseModel() takes a Llama with biases of attention, of feed-forward layers, or of both", () => {
  const biasesOf = (changes: Record<string, unknown>) =>
    parseModel(configJson({ num_hidden_layers: 1, ...changes })).weights
      .flatMap(({ tensors }) => tensors.filter((tensor) => tensor.endsWith(".bias")))
      .map((tensor) => tensor.split(".").at(-2)!);
  const attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
  const mlp = ["gate_proj", "up_proj", "down_proj"];
  assertEquals(biasesOf({}), []);
  assertEquals(biasesOf({ attention_bias: true }), attention);
  assertEquals(biasesOf({ mlp_bias: true }), mlp);
  assertEquals(biasesOf({ attention_bias: true, mlp_bias: true }), [...attention, ...mlp]);
});

Deno.test("parseModel() takes Qwen2 with its biases of queries, keys and values", () => {
  const qwen2 = { model_type: "qwen2", num_key_value_heads: 2, use_sliding_window: false };
  const biases = parseModel(configJson(qwen2)).weights.find(({ name }) => name === "1.qkv_bias")!;
  assertEquals(biases.shapes, [[64], [16], [16]]);
  assertEquals(biases.tensors[2], "model.layers.1.self_attn.v_proj.bias");
  refuses({ ...qwen2, hidden_act: "gelu" }, 'field "hidden_act" is "gelu": known are silu');
});

Deno.test("parseModel() takes OLMo 2, with norms after blocks and over whole rows of queries and keys", () => {
  const olmo2 = { model_type: "olmo2", num_key_value_heads: 2 };
  const { weights } = parseModel(configJson(olmo2));
  const norms = weights.filter(({ name }) => /^1\..*norm/.test(name));
  assertEquals(norms.map(({ tensors, shapes }) => [tensors, shapes]), [
    [["q_norm", "k_norm"].map((name) => `model.layers.1.self_attn.${name}.weight`), [[64], [16]]],
    [["model.layers.1.post_attention_layernorm.weight"], [[64]]],
    [["model.layers.1.post_feedforward_layernorm.weight"], [[64]]],
  ]);
  refuses({ ...olmo2, attention_bias: true }, "biases are not supported");
  refuses({ ...olmo2, hidden_act: "gelu" }, 'field "hidden_act" is "gelu": known are silu');
});

Deno.test("parseModel() takes SmolLM3, some of whose layers do not rotate queries and keys", () => {
  const smollm3 = { model_type: "smollm3", num_hidden_layers: 8 };
  const lists = (changes: Record<string, unknown>) => {
    const model = parseModel(configJson({ ...smollm3, ...changes }));
    return {
      model,
      rotated: constantsOf(model, "rope_store_kv", "ROTARY_DIM"),
      windows: model.caches.map((cache) => cache?.kind === "sliding_window" ? cache.window : 0),
    };
  };
  const { model, rotated, windows } = lists({});
  assertEquals(rotated, [8, 8, 8, 0, 8, 8, 8, 0]);
  assertEquals(windows, Array(8).fill(0));
  // Defaults of its own configuration class.
  assertEquals(model.attention[0]!.numKvHeads, 4);
  assertEquals(model.positionTables.rope!.theta, 2e6);
  assertEquals(model.ignoredTensors, ["lm_head.weight"]);
  assertEquals(lists({ no_rope_layer_interval: 3 }).rotated, [8, 8, 0, 8, 8, 0, 8, 8]);
  const listed = { no_rope_layers: [0, 1, 1, 1, 1, 1, 1, 0] };
  assertEquals(lists(listed).rotated, [0, 8, 8, 8, 8, 8, 8, 0]);
  const sliding = { ...listed, sliding_window: 64 };
  assertEquals(lists(sliding).windows, Array(8).fill(0));
  assertEquals(lists({ ...sliding, use_sliding_window: true }).windows, [64, 0, 0, 0, 0, 0, 0, 64]);
  refuses({ ...smollm3, no_rope_layers: [1, 0] }, 'field "no_rope_layers" has 2 entries');
  refuses({ ...smollm3, no_rope_layers: [2] }, 'field "no_rope_layers.0" is 2');
  refuses({ ...smollm3, no_rope_layer_interval: 0 }, 'field "no_rope_layer_interval" is 0');
});

Deno.test("parseModel() takes Granite, with its four multipliers, each 1 where the file has none", () => {
  const granite = { model_type: "granite" };
  const scalesOf = (changes: Record<string, unknown>) => {
    const model = parseModel(configJson({ ...granite, num_hidden_layers: 1, ...changes }));
    return ["embed_tokens", "paged_attention_decode", "o", "down", "head"]
      .flatMap((label) => [...new Set(constantsOf(model, label, "SCALE"))]);
  };
  assertEquals(scalesOf({}), [1, 1, 1, 1, 1]);
  const multipliers = {
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.25,
    logits_scaling: 8,
  };
  assertEquals(scalesOf(multipliers), [12, 0.015625, 0.25, 0.25, 0.125]);
  for (const field of Object.keys(multipliers)) {
    refuses({ ...granite, [field]: 0 }, `field "${field}" is 0`);
    refuses({ ...granite, [field]: "1" }, `field "${field}" is "1"`);
  }
});

Deno.test("parseModel() takes OLMo 3, which scales the rotation of layers without a window alone", () => {
  const olmo3 = { model_type: "olmo3", num_hidden_layers: 5 };
  const take = (changes: Record<string, unknown>) =>
    parseModel(configJson({ ...olmo3, ...changes }));
  const windowsOf = ({ caches }: Model) =>
    caches.map((cache) => cache?.kind === "sliding_window" ? cache.window : 0);
  assertEquals(windowsOf(take({})), [4096, 4096, 4096, 0, 4096]);
  const types = ["full_attention", ...Array(4).fill("sliding_attention")];
  assertEquals(windowsOf(take({ layer_types: types, sliding_window: 9 })), [0, 9, 9, 9, 9]);
  const linear = { rope_type: "linear", factor: 8 };
  const { positionTables } = take({ rope_scaling: linear });
  const plain = { rotaryDim: 8, theta: 5e5, scaling: undefined };
  const scaling = { type: "linear" as const, factor: 8 };
  assertEquals(positionTables, { rope: { ...plain, scaling }, local_rope: plain });
  const rope_parameters = {
    full_attention: { ...linear, rope_theta: 5e5 },
    sliding_attention: { rope_type: "default", rope_theta: 5e5 },
  };
  assertEquals(take({ rope_parameters }).positionTables, positionTables);
  refuses({ ...olmo3, sliding_window: null }, 'field "sliding_window" is missing');
  refuses({ ...olmo3, layer_types: ["full_attention"] }, 'field "layer_types" has 1 entries');
  refuses({ ...olmo3, attention_bias: true }, "biases are not supported");
});

Deno.test("parseModel() takes Phi-3, with fused tensors and a part of each head rotated", () => {
  const phi3 = { model_type: "phi3", num_hidden_layers: 2, num_key_value_heads: 2 };
  const model = parseModel(configJson({ ...phi3, partial_rotary_factor: 0.5 }));
  const fused = model.weights.filter(({ name }) => /^1\.(qkv|gate_up)$/.test(name));
  assertEquals(fused.map(({ tensors, shapes, isGateUp }) => [tensors, shapes, isGateUp]), [
    [["model.layers.1.self_attn.qkv_proj.weight"], [[64 + 16 + 16, 64]], undefined],
    [["model.layers.1.mlp.gate_up_proj.weight"], [[256, 64]], true],
  ]);
  assertEquals(constantsOf(model, "rope_store_kv", "ROTARY_DIM"), [4, 4]);
  assertEquals(model.positionTables.rope!.rotaryDim, 4);
  assertEquals(model.caches.map((cache) => cache?.kind), ["full", "full"]);
  const sliding = parseModel(configJson({ ...phi3, sliding_window: 64 }));
  const window = { kind: "sliding_window", window: 64, numKvHeads: 2, headDim: 8 } as const;
  assertEquals(sliding.caches, [window, window]);
  for (const field of ["attention_bias", "mlp_bias", "lm_head_bias"]) {
    refuses({ ...phi3, [field]: true }, `field "${field}" is true: biases are not supported`);
  }
  refuses({ ...phi3, partial_rotary_factor: 0.75 }, "6 of 8 elements: must be a multiple of 4");
});

/** A small config.json of a family with experts. */
const EXPERTS = { num_experts: 4, num_local_experts: 4, num_experts_per_tok: 2 };

Deno.test("parseModel() takes Qwen3-MoE and OLMoE, with a tensor for each matrix of each expert", () => {
  const qwen3Moe = { model_type: "qwen3_moe", ...EXPERTS, moe_intermediate_size: 32 };
  const model = parseModel(configJson({ ...qwen3Moe, num_hidden_layers: 4, mlp_only_layers: [3] }));
  const specs = model.weights.filter(({ name }) => /^0\.(router|gate_up|down)$/.test(name));
  assertEquals(specs.map(({ name, tensors, shapes }) => [name, tensors.length, shapes[0]]), [
    ["0.router", 1, [4, 64]],
    ["0.gate_up", 8, [32, 64]],
    ["0.down", 4, [64, 32]],
  ]);
  assertEquals(specs.map(({ keepsType, numMatrices }) => [keepsType, numMatrices]), [
    [true, undefined],
    [undefined, 4],
    [undefined, 4],
  ]);
  const [router, gateUp] = specs;
  assertEquals(router!.tensors, ["model.layers.0.mlp.gate.weight"]);
  assertEquals(gateUp!.tensors.slice(2, 4), [
    "model.layers.0.mlp.experts.1.gate_proj.weight",
    "model.layers.0.mlp.experts.1.up_proj.weight",
  ]);
  const layersWithExperts = ({ weights }: Model) =>
    weights.filter(({ name }) => name.endsWith(".router")).map(({ name }) => name);
  assertEquals(layersWithExperts(model), ["0.router", "1.router", "2.router"]);
  const sparse = { ...qwen3Moe, num_hidden_layers: 4, decoder_sparse_step: 2 };
  assertEquals(layersWithExperts(parseModel(configJson(sparse))), ["1.router", "3.router"]);
  refuses({ ...qwen3Moe, num_experts_per_tok: 5 }, '"num_experts_per_tok" is 5: must be at most');
  refuses({ ...qwen3Moe, use_sliding_window: true }, "sliding windows of this family are not");
  const olmoe = { model_type: "olmoe", ...EXPERTS };
  assertEquals(parseModel(configJson(olmoe)).buffers["inner"]!.words, 2 * 128);
  assertEquals(constantsOf(parseModel(configJson(olmoe)), "router", "NORMALIZES"), [
    ...[false, false],
  ]);
  refuses({ ...olmoe, clip_qkv: 8 }, 'field "clip_qkv" is 8');
  refuses({ ...olmoe, attention_bias: true }, "biases are not supported");
});

Deno.test("parseModel() takes gpt-oss, whose experts are one tensor, in MXFP4 or transposed", () => {
  const gptOss = { model_type: "gpt_oss", ...EXPERTS, num_hidden_layers: 3 };
  const model = parseModel(configJson(gptOss));
  const of = ({ weights }: Model, name: string) => weights.find((spec) => spec.name === name)!;
  assertEquals(of(model, "1.gate_up"), {
    name: "1.gate_up",
    tensors: ["model.layers.1.mlp.experts.gate_up_proj"],
    shapes: [[4, 256, 64]],
    numMatrices: 4,
    isTransposed: true,
  });
  assertEquals(of(model, "1.down_bias").shapes, [[4, 64]]);
  assertEquals(of(model, "1.sinks").tensors, ["model.layers.1.self_attn.sinks"]);
  assertEquals(of(model, "1.router_bias").tensors, ["model.layers.1.mlp.router.bias"]);
  const windows = model.caches.map((cache) => cache?.kind === "sliding_window" && cache.window);
  assertEquals(windows, [128, false, 128]);
  assertEquals(model.positionTables.rope!.scaling?.type, "yarn");
  assertEquals(model.maxPositionEmbeddings, 131_072);
  const quantized = { ...gptOss, quantization_config: { quant_method: "mxfp4" } };
  assertEquals(of(parseModel(configJson(quantized)), "1.down").isTransposed, false);
  assertEquals(constantsOf(model, "gate_up", "GATE_LIMIT").slice(0, 1), [7]);
  refuses({ ...gptOss, num_local_experts: 1 }, '"num_experts_per_tok" is 2');
  refuses({ ...gptOss, swiglu_limit: 0 }, 'field "swiglu_limit" is 0');
});

Deno.test("every family refuses by name what it would get wrong", () => {
  const configs = new Map(familyGoldens().map(({ config }) => [config["model_type"], config]));
  assertEquals([...configs.keys()].sort(), [...KNOWN_MODEL_TYPES].sort());
  for (const [modelType, config] of configs) {
    const refused = (changes: Record<string, unknown>) =>
      assertThrows(() => parseModel({ ...config, ...changes }), StartupError).message;
    assertEquals(parseModel(config).modelType, modelType);
    const activation = "hidden_activation" in config ? "hidden_activation" : "hidden_act";
    const message = refused({ [activation]: "relu2" });
    assertStringIncludes(message, `config.json: field "${activation}" is "relu2": known are `);
    assertStringIncludes(refused({ quantization_config: { bits: 4 } }), '"quantization_config" is');
    assertStringIncludes(
      refused({ is_causal: false }),
      '"is_causal" is false: attention both ways',
    );
    // Phi-4-mini rotates a part of a head, and no family less than four elements of one.
    const share = modelType === "phi3" ? 0.05 : 0.5;
    const partial = refused({ partial_rotary_factor: share });
    assertStringIncludes(partial, `"partial_rotary_factor" is ${share}`);
    // Where a file has rope_parameters, they count alone.
    const { rope_parameters } = config as { rope_parameters?: object };
    const place = rope_parameters === undefined ? "rope_scaling" : "rope_parameters";
    const scaled = (rope_type: string) =>
      refused({ [place]: { ...rope_parameters, rope_type, factor: 2 } });
    assertStringIncludes(scaled("ntk"), `${place}: type is "ntk"`);
    assertStringIncludes(scaled("longrope"), `${place}: field "short_factor" is missing`);
  }
});

Deno.test("parseModel() refuses what is not an object", () => {
  for (const json of [null, [], "llama", 7]) {
    assertThrows(() => parseModel(json), StartupError, "config.json: the whole file is");
  }
});

Deno.test("ministral3 needs the growth of its queries, which rope_parameters have", () => {
  const { config } = familyGoldens().find(({ name }) => name === "ministral3")!;
  const { llama_4_scaling_beta: _, ...rest } = config["rope_parameters"] as Record<string, unknown>;
  const refuse = (rope_parameters: unknown, part: string) =>
    assertThrows(() => parseModel({ ...config, rope_parameters }), StartupError, part);
  refuse(rest, 'field "rope_parameters.llama_4_scaling_beta" is missing');
  refuse(undefined, 'field "rope_parameters" is missing');
  const { scaling } = parseModel(config).positionTables.rope!;
  assertEquals(scaling?.type === "yarn" && scaling.attentionFactor, 1);
});

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { parseModel } from "../../../models/registry.ts";
import { StartupError } from "../../../src/core/errors.ts";
import { configJson, generationConfigJson } from "../../../src/weights/gguf/config_json.ts";
import { openGguf } from "../../../src/weights/gguf/gguf_file.ts";
import { eosTokenIds } from "../../../src/weights/gguf/tokenizer_json.ts";
import { ggufFile, type GgufTensorData, type Metadata } from "../../support/gguf_writer.ts";
import { withModelDir } from "../checkpoint_files.ts";
import { countingTensor, f32Tensor, smallVocabulary } from "./small_gguf.ts";

/** Keys that all architectures share, of 4 heads of 8. */
const SHARED: Record<string, Metadata> = {
  "context_length": { u32: 4096 },
  "embedding_length": { u32: 32 },
  "block_count": { u32: 4 },
  "feed_forward_length": { u32: 64 },
  "attention.head_count": { u32: 4 },
  "attention.head_count_kv": { u32: 2 },
  "attention.layer_norm_rms_epsilon": { f32: 1e-5 },
};

const SHARED_FIELDS = {
  hidden_size: 32,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 64,
  vocab_size: 48,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: true,
};

function configOf(
  architecture: string,
  more: Record<string, Metadata | undefined> = {},
  tensors: Record<string, GgufTensorData> = {},
  general: Record<string, Metadata> = {},
): Record<string, unknown> {
  const keys = Object.entries({ ...SHARED, ...more }).filter(([, value]) => value !== undefined)
    .map(([key, value]) => [`${architecture}.${key}`, value]);
  const file = ggufFile(
    { "general.architecture": architecture, ...Object.fromEntries(keys), ...general },
    { "token_embd.weight": countingTensor(48, 32), ...tensors },
  );
  let config: Record<string, unknown> = {};
  withModelDir({ "a.gguf": file }, (dir) => {
    const gguf = openGguf(`${dir}/a.gguf`);
    try {
      config = { ...configJson(gguf) };
    } finally {
      gguf.close();
    }
  });
  return config;
}

function refusal(...args: Parameters<typeof configOf>): string {
  const error = assertThrows(() => configOf(...args), StartupError);
  return error.message.replace(/^.*a\.gguf: /, "");
}

/** What a config has beyond the shared fields. */
function beyond(config: Record<string, unknown>): Record<string, unknown> {
  const shared = Object.entries(SHARED_FIELDS);
  for (const [key, value] of shared) {
    if (key !== "rope_theta") assertEquals(config[key], value, key);
  }
  return Object.fromEntries(Object.entries(config).filter(([key]) => !(key in SHARED_FIELDS)));
}

Deno.test("a Llama's metadata gives the config that its parser takes", () => {
  const config = configOf(
    "llama",
    { "rope.freq_base": { f32: 500_000 }, "rope.dimension_count": { u32: 8 } },
    { "output.weight": countingTensor(48, 32) },
    smallVocabulary(),
  );
  assertEquals(config, {
    model_type: "llama",
    ...SHARED_FIELDS,
    rope_theta: 500_000,
    tie_word_embeddings: false,
    bos_token_id: 257,
    eos_token_id: 258,
  });
  const { attention, positionTables } = parseModel(config);
  assertEquals(attention[0], { numHeads: 4, numKvHeads: 2, headDim: 8 });
  assertEquals(positionTables["rope"]!.theta, 500_000);
});

Deno.test("every architecture becomes the config of its family", () => {
  const small = { "attention.key_length": { u32: 16 }, "attention.value_length": { u32: 16 } };
  assertEquals(beyond(configOf("qwen2")), { model_type: "qwen2" });
  assertEquals(beyond(configOf("qwen3", small)), { model_type: "qwen3", head_dim: 16 });
  assertEquals(beyond(configOf("llama", { "attention.sliding_window": { u32: 1024 } })), {
    model_type: "mistral",
    sliding_window: 1024,
  });
  assertEquals(configOf("llama", { "expert_count": { u32: 8 } })["model_type"], "mixtral");
  assertEquals(
    beyond(configOf("granite", {
      "attention.scale": { f32: 0.015625 },
      "embedding_scale": { f32: 12 },
      "residual_scale": { f32: 0.22 },
      "logit_scale": { f32: 8 },
    })),
    {
      model_type: "granite",
      attention_multiplier: 0.015625,
      embedding_multiplier: 12,
      residual_multiplier: 0.22,
      logits_scaling: 8,
    },
  );
  assertEquals(beyond(configOf("smollm3")), {
    model_type: "smollm3",
    no_rope_layer_interval: 4,
    no_rope_layers: [1, 1, 1, 0],
  });
  assertEquals(beyond(configOf("phi3", { "rope.dimension_count": { u32: 6 } })), {
    model_type: "phi3",
    partial_rotary_factor: 0.75,
  });
  assertEquals(beyond(configOf("olmo2")), { model_type: "olmo2" });
});

Deno.test("models with windows say which layers have one", () => {
  const window = { "attention.sliding_window": { u32: 512 } };
  const layers = (config: Record<string, unknown>) =>
    (config["layer_types"] as string[]).map((type) => type[0]).join("");
  const size = { "attention.key_length": { u32: 16 }, "attention.value_length": { u32: 16 } };
  const gemma2 = configOf("gemma2", {
    ...{ ...window, ...size },
    "attn_logit_softcapping": { f32: 50 },
    "final_logit_softcapping": { f32: 30 },
  });
  assertEquals(layers(gemma2), "sfsf");
  const { layer_types: _, ...fields } = beyond(gemma2);
  assertEquals(fields, {
    model_type: "gemma2",
    head_dim: 16,
    hidden_act: "gelu_pytorch_tanh",
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: 16,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
    sliding_window: 512,
  });
  // The largest of each generation scales by the hidden size per head.
  const large = configOf("gemma2", { ...window, ...size, "block_count": { u32: 46 } });
  assertEquals(large["query_pre_attn_scalar"], 8);
  const gemma3 = configOf("gemma3", {
    ...{ ...window, ...size },
    "block_count": { u32: 7 },
    "rope.freq_base": { f32: 1e6 },
    "rope.scaling.type": "linear",
    "rope.scaling.factor": { f32: 8 },
  });
  assertEquals(layers(gemma3), "sssssfs");
  assertEquals(
    [gemma3["rope_theta"], gemma3["rope_local_base_freq"], gemma3["rope_scaling"]],
    [1e6, 10_000, { rope_type: "linear", factor: 8 }],
  );
  const olmo3 = configOf("olmo2", window);
  assertEquals([olmo3["model_type"], layers(olmo3)], ["olmo3", "sssf"]);
  const listed = { "attention.sliding_window_pattern": { bools: [false, true, true, false] } };
  assertEquals(layers(configOf("olmo2", { ...window, ...listed })), "fssf");
  const counted = { "attention.sliding_window_pattern": { u32: 3 } };
  assertEquals(layers(configOf("gemma3", { ...window, ...counted })), "ssfs");
});

Deno.test("models with experts say how many there are", () => {
  const experts = {
    "expert_count": { u32: 8 },
    "expert_used_count": { u32: 2 },
    "expert_feed_forward_length": { u32: 16 },
  };
  assertEquals(beyond(configOf("qwen3moe", experts)), {
    model_type: "qwen3_moe",
    moe_intermediate_size: 16,
    num_experts: 8,
    num_experts_per_tok: 2,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
  });
  assertEquals(configOf("olmoe", experts)["norm_topk_prob"], false);
  const yarn = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": { f32: 32 },
    "rope.scaling.original_context_length": { u32: 4096 },
    "attention.sliding_window": { u32: 128 },
  };
  const gptOss = configOf("gpt-oss", { ...experts, ...yarn });
  assertEquals([gptOss["num_local_experts"], gptOss["intermediate_size"]], [8, 16]);
  assertEquals((gptOss["layer_types"] as string[])[0], "sliding_attention");
  assertEquals(gptOss["rope_scaling"], {
    ...{ rope_type: "yarn", factor: 32, original_max_position_embeddings: 4096 },
    ...{ beta_fast: 32, beta_slow: 1, truncate: false },
  });
});

Deno.test("biases of the first layer show in the config", () => {
  const { attention_bias: attention, mlp_bias: mlp } = configOf("llama", {}, {
    "blk.0.attn_q.bias": countingTensor(32),
    "blk.0.ffn_up.bias": countingTensor(64),
  });
  assertEquals([attention, mlp], [true, true]);
});

/** Llama 3.1's factors of frequencies, written independently of the code under test. */
function llama3Factors(half: number, theta: number, factor: number, original: number): number[] {
  return Array.from({ length: half }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** (i / half);
    if (wavelength < original / 4) return 1;
    if (wavelength > original / 1) return factor;
    const smooth = (original / wavelength - 1) / (4 - 1);
    return factor / ((1 - smooth) + factor * smooth);
  });
}

Deno.test("factors of frequencies become Llama 3's scaling where they are that, else a list", () => {
  const base = { "rope.freq_base": { f32: 500_000 } };
  const scaling = (values: number[]) =>
    configOf("llama", base, { "rope_freqs.weight": f32Tensor([values.length], values) })[
      "rope_scaling"
    ];
  for (const [factor, original] of [[8, 8192], [32, 8192], [4, 4096]] as const) {
    assertEquals(scaling(llama3Factors(64, 500_000, factor, original)), {
      rope_type: "llama3",
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: original,
    });
  }
  assertEquals(scaling([1, 1, 1, 1]), undefined);
  const other = scaling([1, 2, 2.5, 8]);
  assertEquals(other, {
    rope_type: "longrope",
    long_factor: [1, 2, 2.5, 8],
    short_factor: [1, 2, 2.5, 8],
    attention_factor: 1,
  });
});

Deno.test("rope scaling keeps its kind, and unknown kinds are refused by name", () => {
  const scaling = (more: Record<string, Metadata>, tensors: Record<string, GgufTensorData> = {}) =>
    configOf("phi3", more, tensors)["rope_scaling"];
  assertEquals(
    scaling({ "rope.scaling.type": "none", "rope.scaling.factor": { f32: 4 } }),
    undefined,
  );
  assertEquals(scaling({ "rope.scale_linear": { f32: 4 } }), { rope_type: "linear", factor: 4 });
  assertEquals(
    scaling({
      "rope.scaling.type": "yarn",
      "rope.scaling.factor": { f32: 4 },
      "rope.scaling.original_context_length": { u32: 1024 },
      "rope.scaling.attn_factor": { f32: 1.2 },
      "rope.scaling.yarn_beta_fast": { f32: 32 },
    }),
    {
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 1024,
      beta_fast: 32,
      attention_factor: 1.2,
    },
  );
  assertEquals(
    scaling({
      "rope.scaling.original_context_length": { u32: 4096 },
      "rope.scaling.attn_factor": { f32: 1.19 },
    }, {
      "rope_factors_long.weight": f32Tensor([4], [1.5, 2, 3, 4]),
      "rope_factors_short.weight": f32Tensor([4], [1, 1, 1.25, 1.5]),
    }),
    {
      rope_type: "longrope",
      long_factor: [1.5, 2, 3, 4],
      short_factor: [1, 1, 1.25, 1.5],
      original_max_position_embeddings: 4096,
      attention_factor: 1.19,
    },
  );
  assertEquals(
    refusal("llama", { "rope.scaling.type": "dynamic" }),
    'llama.rope.scaling.type is "dynamic": known are none, linear, yarn, and longrope with its ' +
      "tensors of factors",
  );
});

Deno.test("what is not known or missing is refused by name", () => {
  const unknown = refusal("mamba");
  assert(unknown.startsWith('general.architecture is "mamba": known are llama, qwen2,'), unknown);
  assertEquals(
    refusal("llama", { "context_length": undefined }),
    "metadata lacks llama.context_length",
  );
  assertEquals(
    refusal("llama", { "attention.head_count": { i32s: [4, 2, 4, 4] } }),
    "llama.attention.head_count differs from layer to layer, which is not supported",
  );
  assertEquals(
    configOf("llama", { "attention.head_count": { i32s: [4, 4, 4, 4] } })["num_attention_heads"],
    4,
  );
  assertEquals(
    refusal("llama", {
      "attention.key_length": { u32: 16 },
      "attention.value_length": { u32: 8 },
    }),
    "attention.key_length is 16 and attention.value_length 8: must be equal",
  );
  assertEquals(
    refusal("llama", { "block_count": "four" }),
    'llama.block_count is "four": must be a count',
  );
});

Deno.test("sampling defaults and ends of answers come from the metadata", () => {
  const file = ggufFile({
    ...smallVocabulary(),
    "general.architecture": "llama",
    "general.sampling.temp": { f32: 0.6 },
    "general.sampling.top_p": { f32: 0.95 },
    "general.sampling.top_k": { u32: 20 },
    "tokenizer.ggml.eos_token_id": { u32: 257 },
  }, {});
  withModelDir({ "a.gguf": file }, (dir) => {
    const gguf = openGguf(`${dir}/a.gguf`);
    gguf.close();
    const ids = eosTokenIds(gguf.metadata);
    assertEquals(ids, [257, 258]);
    const config = generationConfigJson(gguf, ids);
    assertEquals(config["eos_token_id"], [257, 258]);
    assertAlmostEquals(config["temperature"] as number, 0.6, 1e-9);
    assertEquals([config["top_p"], config["top_k"]], [0.95, 20]);
  });
});

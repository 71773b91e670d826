import { decodeToF32 } from "../../src/weights/dtypes.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import {
  GGUF_TYPE,
  ggufFile,
  type GgufTensorData,
  interleaveRows,
  type Metadata,
} from "./gguf_writer.ts";
import { encodeQ8_0 } from "./gguf_checkpoint.ts";
import { encodeQ4_K } from "./k_quants.ts";
import { readTensor } from "./read_tensor.ts";

/** A config.json. */
type Config = Readonly<Record<string, unknown>>;

/** How the converter of a family differs from that of Llama. */
interface Converter {
  readonly architecture: string;
  /** Whether rows of q and k are paired. */
  readonly pairs?: boolean;
  /** Whether 1 is added to norms. */
  readonly addsOne?: boolean;
}

const CONVERTERS: Readonly<Record<string, Converter>> = {
  llama: { architecture: "llama", pairs: true },
  mistral: { architecture: "llama", pairs: true },
  qwen2: { architecture: "qwen2" },
  qwen3: { architecture: "qwen3" },
  qwen3_moe: { architecture: "qwen3moe" },
  gemma2: { architecture: "gemma2", addsOne: true },
  gemma3_text: { architecture: "gemma3", addsOne: true },
  granite: { architecture: "granite", pairs: true },
  olmo2: { architecture: "olmo2" },
  olmo3: { architecture: "olmo2" },
  olmoe: { architecture: "olmoe" },
  gpt_oss: { architecture: "gpt-oss" },
  phi3: { architecture: "phi3" },
  smollm3: { architecture: "smollm3", pairs: true },
};

/** Names of parts of a layer; of norms, those of families with norms before each part alone. */
const PARTS: Readonly<Record<string, string>> = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.qkv_proj": "attn_qkv",
  "mlp.gate": "ffn_gate_inp",
  "mlp.router": "ffn_gate_inp",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "input_layernorm": "attn_norm",
  "post_attention_layernorm": "ffn_norm",
};

/** Names of norms in families that have some behind the parts of a layer. */
const NORMS_BEHIND: Readonly<Record<string, string>> = {
  "post_attention_layernorm": "post_attention_norm",
  "pre_feedforward_layernorm": "ffn_norm",
  "post_feedforward_layernorm": "post_ffw_norm",
};

/** Whether `familyGguf` knows how a family is converted. */
export function hasConverter(modelType: unknown): boolean {
  return Object.hasOwn(CONVERTERS, String(modelType));
}

/** Types that matrices of a family are written in, and how. */
const ENCODERS = {
  F16: (values: Float32Array) => new Uint8Array(Float16Array.from(values).buffer),
  Q8_0: encodeQ8_0,
  Q4_K: encodeQ4_K,
};

/** Types that matrices of a family are written in. */
export type FamilyMatrixType = keyof typeof ENCODERS;

/**
 * The model in a directory as llama.cpp's converters write it: names, order of rows, norms, and the
 * metadata of its config.json; vectors f32.
 *
 * @param matrixType whose blocks all rows of matrices are whole numbers of; experts are f16.
 * @param vocabulary metadata of the tokenizer, if any.
 */
export function familyGguf(
  dir: string,
  matrixType: FamilyMatrixType = "F16",
  vocabulary: Readonly<Record<string, Metadata>> = {},
): Uint8Array<ArrayBuffer> {
  const config: Config = JSON.parse(Deno.readTextFileSync(`${dir}/config.json`));
  const converter = CONVERTERS[String(config["model_type"])]!;
  const weights = openSafetensors(dir);
  const names = weights.names();
  const isBehind = names.some((name) => name.includes("post_feedforward_layernorm"));
  const tensors: Record<string, GgufTensorData> = {};
  const read = (name: string) => {
    const { dtype, numElements } = weights.tensor(name);
    const values = new Float32Array(numElements);
    decodeToF32(dtype, readTensor(weights, name), values);
    return values;
  };
  Object.assign(tensors, expertTensors(weights, read));
  for (const name of names.filter((name) => !name.includes(".experts."))) {
    const { shape } = weights.tensor(name);
    const values = read(name);
    const [rows, columns = 1] = shape;
    const heads = converter.pairs && /\.q_proj\./.test(name)
      ? config["num_attention_heads"]
      : converter.pairs && /\.k_proj\./.test(name)
      ? config["num_key_value_heads"]
      : undefined;
    const ordered = heads === undefined
      ? values
      : interleaveRows(values, [rows!, columns], Number(heads));
    const isNorm = name.endsWith("norm.weight");
    const stored = converter.addsOne && isNorm ? ordered.map((value) => value + 1) : ordered;
    const isMatrix = shape.length > 1;
    const isPostNorm = converter.architecture === "gpt-oss" && name.includes("post_attention");
    const known = isPostNorm
      ? name.replace(/^model\.layers\.(\d+)\..*/, "blk.$1.post_attention_norm.weight")
      : ggufName(name, isBehind);
    tensors[known] = data(shape, stored, isMatrix ? matrixType : "F32");
  }
  weights.close();
  return ggufFile({ ...metadataOf(config, converter), ...vocabulary }, {
    ...tensors,
    ...llama3Factors(config),
    ...longropeFactors(config),
  });
}

function data(
  shape: readonly number[],
  values: Float32Array,
  type: FamilyMatrixType | "F32",
): GgufTensorData {
  const bytes = type === "F32" ? new Uint8Array(values.slice().buffer) : ENCODERS[type](values);
  return { shape, type: GGUF_TYPE[type], bytes };
}

const SINKS = "blk.$1.attn_sinks.weight";

/** The experts of each layer, one tensor of gates, one of ups and one of outputs. */
function expertTensors(
  weights: Checkpoint,
  read: (name: string) => Float32Array,
): Record<string, GgufTensorData> {
  const found: Record<string, GgufTensorData> = {};
  const put = (key: string, shape: readonly number[], type: "F16" | "F32", values: number[]) =>
    found[key] = data(shape, Float32Array.from(values), type);
  for (const name of weights.names()) {
    const [, layer, part] = /layers\.(\d+)\.mlp\.experts\.(.+)$/.exec(name) ?? [];
    if (part === undefined) continue;
    const { shape } = weights.tensor(name);
    const [, expert, own] = /^(\d+)\.(\w+)_proj\.weight$/.exec(part) ?? [];
    if (own !== undefined) {
      if (expert !== "0") continue;
      const each = weights.names()
        .filter((other) => other.includes(`layers.${layer}.mlp.experts.`) && other.includes(own));
      const all = each.flatMap((other) => [...read(other)]);
      put(`blk.${layer}.ffn_${own}_exps.weight`, [each.length, ...shape], "F16", all);
      continue;
    }
    const values = read(name);
    const kind = part.endsWith("_bias") ? "bias" : "weight";
    const [count, inputs, outputs] = kind === "bias" ? [shape[0]!, 1, shape[1]!] : shape;
    // Transposed in the checkpoint; of every two outputs the first is a gate.
    const step = part.startsWith("gate_up") ? 2 : 1;
    for (let first = 0; first < step; first++) {
      const rows = outputs! / step;
      const own = step === 1 ? "down" : first === 0 ? "gate" : "up";
      const taken = Array.from({ length: count! * rows * inputs! }, (_, i) => {
        const row = Math.floor(i / inputs!) % rows;
        const at = (Math.floor(i / inputs! / rows) * inputs! + i % inputs!) * outputs!;
        return values[at + row * step + first]!;
      });
      const extents = kind === "bias" ? [count!, rows] : [count!, rows, inputs!];
      const type = kind === "bias" ? "F32" : "F16";
      put(`blk.${layer}.ffn_${own}_exps.${kind}`, extents, type, taken);
    }
  }
  return found;
}

function ggufName(name: string, isBehind: boolean): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  if (name === "lm_head.weight") return "output.weight";
  if (name.endsWith(".sinks")) return name.replace(/^model\.layers\.(\d+)\..*/, SINKS);
  const [, layer, part, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name)!;
  const known = (isBehind ? NORMS_BEHIND[part!] : undefined) ?? PARTS[part!];
  if (known === undefined) throw new TypeError(`Cannot name tensor "${name}" in GGUF`);
  return `blk.${layer}.${known}.${kind}`;
}

function metadataOf(config: Config, { architecture }: Converter): Record<string, Metadata> {
  const u32 = (field: string) => ({ u32: Number(config[field]) });
  const f32 = (field: string) => ({ f32: Number(config[field]) });
  const present = (key: string, field: string, value: Metadata) =>
    config[field] === undefined || config[field] === null ? {} : { [key]: value };
  const keys: Record<string, Metadata> = {
    "context_length": u32("max_position_embeddings"),
    "embedding_length": u32("hidden_size"),
    "block_count": u32("num_hidden_layers"),
    "feed_forward_length": u32("intermediate_size"),
    "attention.head_count": u32("num_attention_heads"),
    "attention.head_count_kv": u32("num_key_value_heads"),
    "attention.key_length": u32("head_dim"),
    "attention.value_length": u32("head_dim"),
    "attention.layer_norm_rms_epsilon": f32("rms_norm_eps"),
    "rope.dimension_count": {
      u32: Number(config["head_dim"]) * Number(config["partial_rotary_factor"] ?? 1),
    },
    "rope.freq_base": f32("rope_theta"),
    ...architecture === "qwen2"
      ? {}
      : present("attention.sliding_window", "sliding_window", u32("sliding_window")),
    ...present("expert_count", "num_experts", u32("num_experts")),
    ...present("expert_count", "num_local_experts", u32("num_local_experts")),
    ...present("expert_used_count", "num_experts_per_tok", u32("num_experts_per_tok")),
    ...architecture === "gpt-oss" ? { "expert_feed_forward_length": u32("intermediate_size") } : {},
    ...present("expert_feed_forward_length", "moe_intermediate_size", u32("moe_intermediate_size")),
    ...present("attn_logit_softcapping", "attn_logit_softcapping", f32("attn_logit_softcapping")),
    ...present(
      "final_logit_softcapping",
      "final_logit_softcapping",
      f32("final_logit_softcapping"),
    ),
    ...present("attention.scale", "attention_multiplier", f32("attention_multiplier")),
    ...present("embedding_scale", "embedding_multiplier", f32("embedding_multiplier")),
    ...present("residual_scale", "residual_multiplier", f32("residual_multiplier")),
    ...present("logit_scale", "logits_scaling", f32("logits_scaling")),
    ...scalingKeys(config),
  };
  const prefixed = Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value]);
  return { "general.architecture": architecture, ...Object.fromEntries(prefixed) };
}

/** Keys of linear scaling, YaRN and LongRoPE; Llama 3's is in a tensor. */
function scalingKeys(config: Config): Record<string, Metadata> {
  const scaling = config["rope_scaling"] as Record<string, number | string> | undefined;
  if (scaling === undefined || scaling === null || scaling["rope_type"] === "llama3") return {};
  const number = (field: string) => Number(scaling[field]);
  if (scaling["rope_type"] === "longrope") {
    return {
      "rope.scaling.original_context_length": {
        u32: Number(config["original_max_position_embeddings"]),
      },
      "rope.scaling.attn_factor": { f32: longropeAttentionFactor(config) },
    };
  }
  return {
    "rope.scaling.type": String(scaling["rope_type"]),
    "rope.scaling.factor": { f32: number("factor") },
    ...scaling["rope_type"] !== "yarn" ? {} : {
      "rope.scaling.original_context_length": { u32: number("original_max_position_embeddings") },
      "rope.scaling.yarn_beta_fast": { f32: number("beta_fast") },
      "rope.scaling.yarn_beta_slow": { f32: number("beta_slow") },
    },
  };
}

/** What Llama 3 divides its frequencies by, as a tensor. */
function llama3Factors(config: Config): Record<string, GgufTensorData> {
  const scaling = config["rope_scaling"] as Record<string, number | string> | undefined;
  if (scaling?.["rope_type"] !== "llama3") return {};
  const [factor, low, high, original] = [
    ...["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
  ].map((field) => Number(scaling[field]));
  const half = Number(config["head_dim"]) / 2;
  const factors = Float32Array.from({ length: half }, (_, i) => {
    const wavelength = 2 * Math.PI * Number(config["rope_theta"]) ** (i / half);
    if (wavelength < original! / high!) return 1;
    if (wavelength > original! / low!) return factor!;
    const smooth = (original! / wavelength - low!) / (high! - low!);
    return 1 / ((1 - smooth) / factor! + smooth);
  });
  return {
    "rope_freqs.weight": {
      shape: [half],
      type: GGUF_TYPE.F32,
      bytes: new Uint8Array(factors.buffer),
    },
  };
}

/** What LongRoPE multiplies cosines and sines by, which converters compute. */
export function longropeAttentionFactor(config: Config): number {
  const original = Number(config["original_max_position_embeddings"]);
  const factor = Number(config["max_position_embeddings"]) / original;
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
}

/** LongRoPE's two lists, as tensors. */
function longropeFactors(config: Config): Record<string, GgufTensorData> {
  const scaling = config["rope_scaling"] as Record<string, number[] | string> | undefined;
  if (scaling?.["rope_type"] !== "longrope") return {};
  return Object.fromEntries(["short", "long"].map((name) => {
    const factors = Float32Array.from(scaling[`${name}_factor`] as number[]);
    const bytes = new Uint8Array(factors.buffer);
    const tensor = { shape: [factors.length], type: GGUF_TYPE.F32, bytes };
    return [`rope_factors_${name}.weight`, tensor];
  }));
}

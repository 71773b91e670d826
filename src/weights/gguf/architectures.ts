import { omitUndefined } from "../../base/omit_undefined.ts";
import { StartupError } from "../../core/errors.ts";
import type { Fields } from "./json_fields.ts";
import type { Metadata } from "./metadata.ts";
import { shortNumber } from "./short_number.ts";

/** How a GGUF architecture differs from the Llama that its keys and tensor names describe. */
export interface Architecture {
  /** The `model_type` of its config.json. */
  readonly modelType: string;
  /**
   * Whether converters have reordered the rows of q and k, from halves of a head that are rotated
   * together to neighbours.
   */
  readonly pairsRows?: boolean;
  /** Whether converters have added 1 to the weights of norms, as the model itself does. */
  readonly addsOneToNorms?: boolean;
  /** Names of a layer's tensors that differ from those of Llama. */
  readonly names?: Readonly<Record<string, string>>;
  /**
   * Special tokens of a SentencePiece vocabulary that leave the white space behind them in a text;
   * all unless given. GGUF does not say.
   */
  readonly leaveSpace?: readonly string[];
  /** Further fields of config.json. */
  readonly fields?: (keys: ArchitectureKeys) => Fields;
}

/** The metadata of one architecture: its keys without their prefix. */
export class ArchitectureKeys {
  readonly #metadata: Metadata;
  readonly #prefix: string;

  constructor(metadata: Metadata, architecture: string) {
    this.#metadata = metadata;
    this.#prefix = architecture;
  }

  /** An integer; an array of equal ones counts as one. */
  count(name: string): number | undefined {
    return this.#metadata.sameCount(`${this.#prefix}.${name}`);
  }

  /** @throws {StartupError} when there is none. */
  requireCount(name: string): number {
    return this.#metadata.requireCount(`${this.#prefix}.${name}`);
  }

  number(name: string): number | undefined {
    const value = this.#metadata.number(`${this.#prefix}.${name}`);
    return value === undefined ? undefined : shortNumber(value);
  }

  /**
   * The kinds of layers: sliding windows, but for the last of every `pattern`, or as a list in the
   * metadata says.
   */
  layerTypes(pattern: number): string[] {
    const key = `${this.#prefix}.attention.sliding_window_pattern`;
    const numLayers = this.requireCount("block_count");
    const listed = Array.isArray(this.#metadata.value(key)) ? this.#metadata.flags(key) : undefined;
    const every = listed === undefined ? this.#metadata.count(key) ?? pattern : pattern;
    return Array.from({ length: numLayers }, (_, layer) => {
      const slides = listed?.[layer] ?? (layer + 1) % every !== 0;
      return slides ? "sliding_attention" : "full_attention";
    });
  }
}

/** Gemma 2 and later norm both sides of each part of a layer. */
const GEMMA_NORMS = {
  "post_attention_norm": "post_attention_layernorm",
  "ffn_norm": "pre_feedforward_layernorm",
  "post_ffw_norm": "post_feedforward_layernorm",
};

/** Gemma's queries are scaled by the size of a head, but in one size of each generation. */
function queryScale(keys: ArchitectureKeys, oddLayers: number): Fields {
  const perHead = keys.requireCount("embedding_length") / keys.requireCount("attention.head_count");
  const isOdd = keys.requireCount("block_count") === oddLayers;
  return {
    query_pre_attn_scalar: isOdd ? perHead : keys.count("attention.key_length") ?? perHead,
  };
}

const GELU = { hidden_act: "gelu_pytorch_tanh", hidden_activation: "gelu_pytorch_tanh" };

const NAME = "general.architecture";

/** The architectures whose config and tensors are known, by `general.architecture`. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: {
    modelType: "llama",
    pairsRows: true,
    // Mistral's models are Llamas here, and so are Mixtral's, which have experts.
    fields: (keys) => ({
      ...omitUndefined({ sliding_window: keys.count("attention.sliding_window") || undefined }),
      ...(keys.count("attention.sliding_window") ? { model_type: "mistral" } : {}),
      ...(keys.count("expert_count") ? { model_type: "mixtral" } : {}),
    }),
  },
  qwen2: { modelType: "qwen2", fields: () => ({ attention_bias: undefined }) },
  qwen3: { modelType: "qwen3" },
  qwen3moe: {
    modelType: "qwen3_moe",
    fields: (keys) => ({
      moe_intermediate_size: keys.requireCount("expert_feed_forward_length"),
      num_experts: keys.requireCount("expert_count"),
      num_experts_per_tok: keys.requireCount("expert_used_count"),
      norm_topk_prob: true,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
    }),
  },
  olmoe: {
    modelType: "olmoe",
    fields: (keys) => ({
      num_experts: keys.requireCount("expert_count"),
      num_experts_per_tok: keys.requireCount("expert_used_count"),
      norm_topk_prob: false,
    }),
  },
  "gpt-oss": {
    modelType: "gpt_oss",
    names: { "ffn_gate_inp": "mlp.router", "post_attention_norm": "post_attention_layernorm" },
    fields: (keys) => ({
      intermediate_size: keys.requireCount("expert_feed_forward_length"),
      num_local_experts: keys.requireCount("expert_count"),
      num_experts_per_tok: keys.requireCount("expert_used_count"),
      sliding_window: keys.requireCount("attention.sliding_window"),
      layer_types: keys.layerTypes(2),
      // Converters part gates from ups, and experts are matrices of their own here.
      expert_layout: "each",
      rope_scaling: {
        rope_type: "yarn",
        factor: keys.number("rope.scaling.factor") ?? 1,
        original_max_position_embeddings: keys.requireCount("rope.scaling.original_context_length"),
        beta_fast: keys.number("rope.scaling.yarn_beta_fast") ?? 32,
        beta_slow: keys.number("rope.scaling.yarn_beta_slow") ?? 1,
        // Files do not say so, but all published models do.
        truncate: false,
      },
    }),
  },
  gemma: { modelType: "gemma", addsOneToNorms: true, fields: () => GELU },
  gemma2: {
    modelType: "gemma2",
    addsOneToNorms: true,
    names: GEMMA_NORMS,
    fields: (keys) => ({
      ...GELU,
      ...queryScale(keys, 46),
      ...omitUndefined({
        attn_logit_softcapping: keys.number("attn_logit_softcapping"),
        final_logit_softcapping: keys.number("final_logit_softcapping"),
      }),
      sliding_window: keys.requireCount("attention.sliding_window"),
      layer_types: keys.layerTypes(2),
    }),
  },
  gemma3: {
    modelType: "gemma3_text",
    addsOneToNorms: true,
    names: GEMMA_NORMS,
    fields: (keys) => ({
      ...GELU,
      ...queryScale(keys, 62),
      rope_theta: keys.number("rope.freq_base") ?? 1_000_000,
      rope_local_base_freq: keys.number("rope.freq_base_swa") ?? 10_000,
      sliding_window: keys.requireCount("attention.sliding_window"),
      layer_types: keys.layerTypes(6),
      ...omitUndefined({ final_logit_softcapping: keys.number("final_logit_softcapping") }),
    }),
  },
  phi3: {
    modelType: "phi3",
    names: { "ffn_up": "mlp.gate_up_proj" },
    // A turn's marks swallow the line break behind them.
    leaveSpace: ["<unk>", "<s>", "<|endoftext|>"],
    fields: (keys) =>
      omitUndefined({
        sliding_window: keys.count("attention.sliding_window") || undefined,
        original_max_position_embeddings: keys.count("rope.scaling.original_context_length"),
      }),
  },
  olmo2: {
    modelType: "olmo2",
    names: {
      "post_attention_norm": "post_attention_layernorm",
      "post_ffw_norm": "post_feedforward_layernorm",
    },
    // OLMo 3 is OLMo 2 with windows.
    fields: (keys) => {
      const window = keys.count("attention.sliding_window");
      if (!window) return {};
      return { model_type: "olmo3", sliding_window: window, layer_types: keys.layerTypes(4) };
    },
  },
  granite: {
    modelType: "granite",
    pairsRows: true,
    fields: (keys) =>
      omitUndefined({
        attention_multiplier: keys.number("attention.scale"),
        embedding_multiplier: keys.number("embedding_scale"),
        residual_multiplier: keys.number("residual_scale"),
        logits_scaling: keys.number("logit_scale"),
      }),
  },
  smollm3: {
    modelType: "smollm3",
    pairsRows: true,
    fields: (keys) => ({
      no_rope_layer_interval: 4,
      no_rope_layers: Array.from(
        { length: keys.requireCount("block_count") },
        (_, layer) => (layer + 1) % 4 === 0 ? 0 : 1,
      ),
    }),
  },
};

/**
 * The architecture of a file.
 *
 * @throws {StartupError} for one that is not known, naming those that are.
 */
export function architectureOf(
  metadata: Metadata,
): { readonly name: string; readonly architecture: Architecture } {
  const name = metadata.text(NAME);
  if (name === undefined) throw new StartupError(`${metadata.file}: metadata lacks ${NAME}`);
  const architecture = knownArchitecture(metadata);
  if (architecture === undefined) {
    throw new StartupError(
      `${metadata.file}: ${NAME} is ${JSON.stringify(name)}: known are ` +
        Object.keys(ARCHITECTURES).join(", "),
    );
  }
  return { name, architecture };
}

/** That of a file which may be a vocabulary alone, for whose model none is needed. */
export function knownArchitecture(metadata: Metadata): Architecture | undefined {
  const name = metadata.text(NAME);
  return name !== undefined && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
}

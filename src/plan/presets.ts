/** Name of the preset that stands for the bundled model. */
export const DEMO_PRESET = "quire-demo";

/** A published model by its config.json. */
export interface Preset {
  readonly name: string;
  /** The fields of config.json that sizes depend on. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Shapes as the models' published config.json files state them. */
const PRESETS: readonly Preset[] = [
  preset(DEMO_PRESET, "llama", { maxLen: 2048, layers: 6, heads: [6, 2, 32] }, {
    hidden: 192,
    inner: 512,
    vocab: 2048,
    tied: true,
  }),
  preset("smollm2-135m", "llama", { maxLen: 8192, layers: 30, heads: [9, 3, 64] }, {
    hidden: 576,
    inner: 1536,
    vocab: 49_152,
    tied: true,
  }),
  preset("qwen2.5-0.5b", "qwen2", { maxLen: 32_768, layers: 24, heads: [14, 2, 64] }, {
    hidden: 896,
    inner: 4864,
    vocab: 151_936,
    tied: true,
  }),
  preset("qwen3-0.6b", "qwen3", { maxLen: 40_960, layers: 28, heads: [16, 8, 128] }, {
    hidden: 1024,
    inner: 3072,
    vocab: 151_936,
    tied: true,
  }),
  preset("llama-3.2-1b", "llama", { maxLen: 131_072, layers: 16, heads: [32, 8, 64] }, {
    hidden: 2048,
    inner: 8192,
    vocab: 128_256,
    tied: true,
  }),
  preset("gemma-3-1b", "gemma3_text", { maxLen: 32_768, layers: 26, heads: [4, 1, 256] }, {
    hidden: 1152,
    inner: 6912,
    vocab: 262_144,
    tied: true,
  }, { sliding_window: 512, sliding_window_pattern: 6 }),
  preset("tinyllama-1.1b", "llama", { maxLen: 2048, layers: 22, heads: [32, 4, 64] }, {
    hidden: 2048,
    inner: 5632,
    vocab: 32_000,
    tied: false,
  }),
  preset("gemma-2-2b", "gemma2", { maxLen: 8192, layers: 26, heads: [8, 4, 256] }, {
    hidden: 2304,
    inner: 9216,
    vocab: 256_000,
    tied: true,
  }, { sliding_window: 4096 }),
  preset("llama-2-7b", "llama", { maxLen: 4096, layers: 32, heads: [32, 32, 128] }, {
    hidden: 4096,
    inner: 11_008,
    vocab: 32_000,
    tied: false,
  }),
  preset("mistral-7b", "mistral", { maxLen: 32_768, layers: 32, heads: [32, 8, 128] }, {
    hidden: 4096,
    inner: 14_336,
    vocab: 32_000,
    tied: false,
  }, { sliding_window: 4096 }),
  preset("llama-3.1-8b", "llama", { maxLen: 131_072, layers: 32, heads: [32, 8, 128] }, {
    hidden: 4096,
    inner: 14_336,
    vocab: 128_256,
    tied: false,
  }),
  preset("llama-3-70b", "llama", { maxLen: 8192, layers: 80, heads: [64, 8, 128] }, {
    hidden: 8192,
    inner: 28_672,
    vocab: 128_256,
    tied: false,
  }),
];

/** Names of the bundled presets, smallest model first. */
export const PRESET_NAMES: readonly string[] = PRESETS.map(({ name }) => name);

/** The preset of that name in any case, or undefined. */
export function findPreset(name: string): Preset | undefined {
  return PRESETS.find((preset) => preset.name === name.toLowerCase());
}

function preset(
  name: string,
  modelType: string,
  { maxLen, layers, heads: [numHeads, numKvHeads, headDim] }: {
    maxLen: number;
    layers: number;
    heads: readonly [numHeads: number, numKvHeads: number, headDim: number];
  },
  { hidden, inner, vocab, tied }: { hidden: number; inner: number; vocab: number; tied: boolean },
  others: Readonly<Record<string, unknown>> = {},
): Preset {
  return {
    name,
    config: {
      model_type: modelType,
      max_position_embeddings: maxLen,
      num_hidden_layers: layers,
      num_attention_heads: numHeads,
      num_key_value_heads: numKvHeads,
      head_dim: headDim,
      hidden_size: hidden,
      intermediate_size: inner,
      vocab_size: vocab,
      tie_word_embeddings: tied,
      ...others,
    },
  };
}

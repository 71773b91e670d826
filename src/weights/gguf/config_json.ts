import { omitUndefined } from "../../base/omit_undefined.ts";
import { StartupError } from "../../core/errors.ts";
import { ArchitectureKeys, architectureOf } from "./architectures.ts";
import type { GgufFile } from "./gguf_file.ts";
import type { Fields } from "./json_fields.ts";
import { ropeScaling } from "./rope_scaling.ts";
import { shortNumber } from "./short_number.ts";

/**
 * The config.json that a GGUF file's metadata stands for.
 *
 * @throws {StartupError} for an architecture that is not known, and for metadata that is missing or
 * of another type.
 */
export function configJson(gguf: GgufFile): Fields {
  const { metadata } = gguf;
  const { name, architecture } = architectureOf(metadata);
  const keys = new ArchitectureKeys(metadata, name);
  const scaling = ropeScaling(gguf, name);
  const hasBias = (part: string) => gguf.tensors.has(`blk.0.${part}.bias`);
  return omitUndefined({
    model_type: architecture.modelType,
    hidden_size: keys.requireCount("embedding_length"),
    num_hidden_layers: keys.requireCount("block_count"),
    num_attention_heads: keys.requireCount("attention.head_count"),
    num_key_value_heads: keys.count("attention.head_count_kv"),
    ...headSize(keys, metadata.file),
    intermediate_size: keys.requireCount("feed_forward_length"),
    vocab_size: vocabSize(gguf),
    max_position_embeddings: keys.requireCount("context_length"),
    rms_norm_eps: keys.number("attention.layer_norm_rms_epsilon"),
    rope_theta: keys.number("rope.freq_base") ?? 10_000,
    rope_scaling: scaling,
    // A vocabulary alone has no tensors, and no head to miss.
    tie_word_embeddings: gguf.tensors.size > 0 && !gguf.tensors.has("output.weight"),
    attention_bias: hasBias("attn_q") ? true : undefined,
    mlp_bias: hasBias("ffn_up") ? true : undefined,
    bos_token_id: metadata.count("tokenizer.ggml.bos_token_id"),
    eos_token_id: metadata.count("tokenizer.ggml.eos_token_id"),
    ...architecture.fields?.(keys),
  });
}

/** Sampling defaults that the metadata recommends, as generation_config.json has them. */
export function generationConfigJson(
  { metadata }: GgufFile,
  eosTokenIds: readonly number[],
): Fields {
  const number = (name: string) => {
    const value = metadata.number(`general.sampling.${name}`);
    return value === undefined ? undefined : shortNumber(value);
  };
  return omitUndefined({
    eos_token_id: eosTokenIds.length === 0 ? undefined : eosTokenIds,
    temperature: number("temp"),
    top_p: number("top_p"),
    top_k: metadata.count("general.sampling.top_k"),
    repetition_penalty: number("penalty_repeat"),
  });
}

/** The size of a head, and the share of it that is rotated, where they are not the usual ones. */
function headSize(keys: ArchitectureKeys, file: string): Fields {
  const size = keys.count("attention.key_length");
  const valueSize = keys.count("attention.value_length") ?? size;
  if (size !== undefined && valueSize !== size) {
    throw new StartupError(
      `${file}: attention.key_length is ${size} and attention.value_length ${valueSize}: must be ` +
        `equal`,
    );
  }
  const whole = size ??
    keys.requireCount("embedding_length") / keys.requireCount("attention.head_count");
  const rotated = keys.count("rope.dimension_count") ?? whole;
  return {
    head_dim: size,
    partial_rotary_factor: rotated === whole ? undefined : rotated / whole,
  };
}

/** Rows of the embedding table; of a vocabulary alone, its tokens. */
function vocabSize({ metadata, tensors }: GgufFile): number {
  const rows = tensors.get("token_embd.weight")?.shape[0];
  const tokens = metadata.texts("tokenizer.ggml.tokens")?.length;
  const size = rows ?? tokens;
  if (size !== undefined) return size;
  throw new StartupError(`${metadata.file} has neither token_embd.weight nor a vocabulary`);
}

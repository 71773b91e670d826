import { decodeToF32 } from "../../src/weights/dtypes.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import {
  GGUF_TYPE,
  ggufFile,
  ggufName,
  type GgufTensorData,
  interleaveRows,
  type Metadata,
} from "./gguf_writer.ts";
import { DEMO_DIR } from "./demo_engine.ts";
import { readTensor } from "./read_tensor.ts";

/** Types that matrices are written in. */
export type MatrixType = "F32" | "F16" | "Q8_0" | "Q4_0";

const GROUP = 32;

/**
 * The Llama in a model directory as a GGUF file: vectors f32, matrices of `type`, or f32 where their
 * rows are no whole number of blocks. Matrices are changed by `change` before.
 */
export function toGguf(
  dir: string,
  type: MatrixType,
  vocabulary: Readonly<Record<string, Metadata>>,
  change: (rows: Float32Array, columns: number) => Float32Array = (rows) => rows,
): Uint8Array<ArrayBuffer> {
  const config = JSON.parse(Deno.readTextFileSync(`${dir}/config.json`));
  const { num_attention_heads: numHeads, num_key_value_heads: numKvHeads } = config;
  const headDim = config.head_dim ?? config.hidden_size / numHeads;
  const weights = openSafetensors(dir);
  const tensors: Record<string, GgufTensorData> = {};
  for (const name of weights.names()) {
    const { dtype, shape, numElements } = weights.tensor(name);
    const values = new Float32Array(numElements);
    decodeToF32(dtype, readTensor(weights, name), values);
    const heads = name.includes("q_proj")
      ? numHeads
      : name.includes("k_proj")
      ? numKvHeads
      : undefined;
    const rows = heads === undefined ? values : interleaveRows(values, shape, heads);
    tensors[ggufName(name)] = tensorOf(
      shape.length === 1 ? rows : change(rows, shape.at(-1)!),
      shape,
      type,
    );
  }
  weights.close();
  const metadata: Record<string, Metadata> = {
    "general.architecture": "llama",
    "llama.context_length": { u32: config.max_position_embeddings },
    "llama.embedding_length": { u32: config.hidden_size },
    "llama.block_count": { u32: config.num_hidden_layers },
    "llama.feed_forward_length": { u32: config.intermediate_size },
    "llama.attention.head_count": { u32: numHeads },
    "llama.attention.head_count_kv": { u32: numKvHeads },
    "llama.attention.key_length": { u32: headDim },
    "llama.attention.layer_norm_rms_epsilon": { f32: config.rms_norm_eps },
    "llama.rope.freq_base": { f32: config.rope_theta },
    "llama.rope.dimension_count": { u32: headDim },
    ...vocabulary,
  };
  return ggufFile(metadata, tensors);
}

function tensorOf(
  values: Float32Array,
  shape: readonly number[],
  type: MatrixType,
): GgufTensorData {
  const isVector = shape.length === 1;
  const isWhole = shape.at(-1)! % GROUP === 0;
  const chosen = isVector || (type.startsWith("Q") && !isWhole) ? "F32" : type;
  return { shape, type: GGUF_TYPE[chosen], bytes: ENCODERS[chosen](values) };
}

const ENCODERS: Readonly<Record<MatrixType, (values: Float32Array) => Uint8Array>> = {
  F32: (values) => new Uint8Array(values.slice().buffer),
  F16: (values) => new Uint8Array(Float16Array.from(values).buffer),
  Q8_0: encodeQ8_0,
  Q4_0: encodeQ4_0,
};

/** Scale: the largest magnitude over 127. */
export function encodeQ8_0(values: Float32Array): Uint8Array {
  return encodeGroups(values, 2 + GROUP, (group, block) => {
    const scale = Math.f16round(Math.max(...group.map(Math.abs)) / 127);
    block.setFloat16(0, scale, true);
    group.forEach((value, i) => {
      const code = scale === 0 ? 0 : Math.round(value / scale);
      block.setInt8(2 + i, Math.max(-128, Math.min(127, code)));
    });
  });
}

/** Scale: the value of largest magnitude over -8. */
export function encodeQ4_0(values: Float32Array): Uint8Array {
  return encodeGroups(values, 2 + GROUP / 2, (group, block) => {
    const peak = group.reduce((most, value) => Math.abs(value) > Math.abs(most) ? value : most);
    const scale = Math.f16round(peak / -8);
    block.setFloat16(0, scale, true);
    const codes = Array.from(
      group,
      (value) => scale === 0 ? 8 : Math.max(0, Math.min(15, Math.round(value / scale) + 8)),
    );
    for (let j = 0; j < GROUP / 2; j++) block.setUint8(2 + j, codes[j]! | (codes[j + 16]! << 4));
  });
}

function encodeGroups(
  values: Float32Array,
  blockBytes: number,
  encode: (group: Float32Array, block: DataView) => void,
): Uint8Array {
  const bytes = new Uint8Array(values.length / GROUP * blockBytes);
  for (let i = 0; i < values.length / GROUP; i++) {
    const block = new DataView(bytes.buffer, i * blockBytes, blockBytes);
    encode(values.subarray(i * GROUP, (i + 1) * GROUP), block);
  }
  return bytes;
}

/** What Q8_0 makes of rows, or where these are no whole blocks the rows themselves. */
export function roundToQ8_0(values: Float32Array, columns: number): Float32Array {
  if (columns % GROUP !== 0) return values;
  const bytes = new DataView(encodeQ8_0(values).buffer);
  return values.map((_, i) => {
    const block = Math.floor(i / GROUP) * (2 + GROUP);
    return bytes.getFloat16(block, true) * bytes.getInt8(block + 2 + i % GROUP);
  });
}

/** The parts of a byte-level tokenizer.json that a vocabulary is made of. */
interface ByteLevelJson {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
  };
  readonly added_tokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
}

/** Metadata of a byte-level vocabulary, from the tokenizer.json that it is published as. */
export function byteLevelVocabulary(
  json: ByteLevelJson,
  pre: string,
  more: Readonly<Record<string, Metadata>> = {},
): Record<string, Metadata> {
  const { model: { vocab, merges }, added_tokens: added } = json;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(vocab)) tokens[id] = token;
  for (const { id, content } of added) tokens[id] = content;
  const types = Array.from(tokens, () => 1);
  for (const { id, special } of added) types[id] = special ? 3 : 4;
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": pre,
    "tokenizer.ggml.tokens": { strings: Array.from(tokens, (token, id) => token ?? `[PAD${id}]`) },
    "tokenizer.ggml.token_type": { i32s: types },
    "tokenizer.ggml.merges": {
      strings: merges.map((merge) => typeof merge === "string" ? merge : merge.join(" ")),
    },
    ...more,
  };
}

/** Metadata of the SentencePiece vocabulary in a llama2.c tokenizer of `size` tokens. */
export function llama2cVocabulary(file: string, size: number): Record<string, Metadata> {
  const bytes = Deno.readFileSync(file);
  const view = new DataView(bytes.buffer);
  const tokens: string[] = [];
  const scores: number[] = [];
  for (let at = 4; tokens.length < size;) {
    scores.push(view.getFloat32(at, true));
    const length = view.getInt32(at + 4, true);
    const text = new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length));
    // That format writes spaces as they are, and line breaks around its control tokens.
    tokens.push(tokens.length < 3 ? text.trim() : text.replaceAll(" ", "\u2581"));
    at += 8 + length;
  }
  const typeOf = (id: number) => id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1;
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": { strings: tokens },
    "tokenizer.ggml.scores": { f32s: scores },
    "tokenizer.ggml.token_type": { i32s: tokens.map((_, id) => typeOf(id)) },
    "tokenizer.ggml.bos_token_id": { u32: 1 },
    "tokenizer.ggml.eos_token_id": { u32: 2 },
    "tokenizer.ggml.unknown_token_id": { u32: 0 },
  };
}

/** The bundled model as a GGUF file, its tokenizer and template in the metadata. */
export function demoGguf(type: MatrixType): Uint8Array<ArrayBuffer> {
  const read = (name: string) => JSON.parse(Deno.readTextFileSync(`${DEMO_DIR}/${name}`));
  const { chat_template: template } = read("tokenizer_config.json");
  // Its words are split as Qwen's are, without a normalizer before.
  const vocabulary = byteLevelVocabulary(read("tokenizer.json"), "stablelm2", {
    "tokenizer.ggml.bos_token_id": { u32: 0 },
    "tokenizer.ggml.eos_token_id": { u32: 2 },
    "tokenizer.chat_template": template,
  });
  return toGguf(DEMO_DIR, type, vocabulary);
}

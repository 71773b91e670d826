import {
  GGUF_TYPE,
  ggufFile,
  type GgufTensorData,
  type Metadata,
} from "../../support/gguf_writer.ts";

/** Metadata of a Llama of one layer, 2 heads of 16 and 1 for keys, hidden size 32. */
export const SMALL_METADATA: Readonly<Record<string, Metadata>> = {
  "general.architecture": "llama",
  "llama.context_length": { u32: 64 },
  "llama.embedding_length": { u32: 32 },
  "llama.block_count": { u32: 1 },
  "llama.feed_forward_length": { u32: 64 },
  "llama.attention.head_count": { u32: 2 },
  "llama.attention.head_count_kv": { u32: 1 },
  "llama.attention.layer_norm_rms_epsilon": { f32: 1e-5 },
};

/** A byte-level vocabulary of all bytes, one merge and two control tokens. */
export function smallVocabulary(): Record<string, Metadata> {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let next = 0x100;
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => String.fromCharCode(printable(byte) ? byte : next++),
  );
  const tokens = [...bytes, "ab", "<s>", "<|im_end|>"];
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": { strings: tokens },
    "tokenizer.ggml.token_type": { i32s: tokens.map((_, id) => id < 257 ? 1 : 3) },
    "tokenizer.ggml.merges": { strings: ["a b"] },
    "tokenizer.ggml.bos_token_id": { u32: 257 },
    "tokenizer.ggml.eos_token_id": { u32: 258 },
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.chat_template": "{{ messages[0].content }}",
  };
}

/** A tensor of f32. */
export function f32Tensor(shape: readonly number[], values: ArrayLike<number>): GgufTensorData {
  return { shape, type: GGUF_TYPE.F32, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** Numbers that differ: `first`, `first + 1` and so on. */
export function counting(length: number, first = 0): number[] {
  return Array.from({ length }, (_, i) => first + i);
}

/** A tensor of counting numbers. */
export function countingTensor(...shape: number[]): GgufTensorData {
  return f32Tensor(shape, counting(shape.reduce((a, b) => a * b)));
}

/** Blocks of a quantized type: bytes that differ, scales of Q4_0 and Q8_0 that are numbers. */
export function blockTensor(
  shape: readonly number[],
  type: "Q4_0" | "Q8_0" | "Q4_K",
): GgufTensorData {
  const [blockSize, blockBytes] = { Q4_0: [32, 18], Q8_0: [32, 34], Q4_K: [256, 144] }[type] as [
    number,
    number,
  ];
  const count = shape.reduce((a, b) => a * b) / blockSize;
  const bytes = Uint8Array.from({ length: count * blockBytes }, (_, i) => i * 37 + (i >> 3));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    view.setFloat16(i * blockBytes, (i + 1) / 64, true);
    if (type === "Q4_K") view.setFloat16(i * blockBytes + 2, i / 32, true);
  }
  return { shape, type: GGUF_TYPE[type], bytes };
}

/** All tensors of the small Llama. */
export function smallTensors(): Record<string, GgufTensorData> {
  return {
    "token_embd.weight": countingTensor(259, 32),
    "blk.0.attn_norm.weight": countingTensor(32),
    "blk.0.attn_q.weight": countingTensor(32, 32),
    "blk.0.attn_k.weight": blockTensor([16, 32], "Q8_0"),
    "blk.0.attn_v.weight": blockTensor([16, 32], "Q4_0"),
    "blk.0.attn_output.weight": countingTensor(32, 32),
    "blk.0.ffn_norm.weight": countingTensor(32),
    "blk.0.ffn_gate.weight": blockTensor([64, 32], "Q4_0"),
    "blk.0.ffn_up.weight": blockTensor([64, 32], "Q4_0"),
    "blk.0.ffn_down.weight": blockTensor([32, 64], "Q8_0"),
    "output_norm.weight": countingTensor(32),
  };
}

/** The small Llama, with what is given in place of its own. */
export function smallGguf(
  metadata: Readonly<Record<string, Metadata>> = {},
  tensors: Readonly<Record<string, GgufTensorData>> = {},
): Uint8Array<ArrayBuffer> {
  return ggufFile(
    { ...SMALL_METADATA, ...smallVocabulary(), ...metadata },
    { ...smallTensors(), ...tensors },
  );
}

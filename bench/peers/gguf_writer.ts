import type { ShapeSizes } from "../shapes.ts";
import { LittleEndianWriter } from "./little_endian_writer.ts";
import type { RandomTensor } from "./random_checkpoint.ts";
import { writeFully } from "./write_fully.ts";

/** A metadata value; the format tells integers from floats, so callers do. */
type Metadata =
  | string
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly strings: readonly string[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

const MAGIC = 0x46554747; // "GGUF", little-endian.
const VERSION = 3;
/** Alignment of each tensor's data; the format's default. */
const ALIGNMENT = 32;

/** Ids of the types that are written. */
const VALUE_TYPE = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const;
const TENSOR_TYPE = { f32: 0, f16: 1 } as const;
const MOSTLY_F16 = 1;
/** What kinds of tokens a vocabulary has. */
const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

/**
 * Writes a random Llama as a GGUF file (version 3) that llama.cpp reads: matrices f16, norms f32, and
 * a vocabulary of bytes and made-up words, which it asks for although benches feed token ids.
 *
 * llama.cpp rotates neighbouring dims of a head where Hugging Face rotates dims half a head apart, so
 * the rows of query and key projections change places. One tensor is held in memory at a time.
 */
export async function writeGguf(
  path: string,
  config: ShapeSizes,
  tensors: readonly RandomTensor[],
): Promise<void> {
  using file = await Deno.create(path);
  const header = ggufHeader(config, tensors);
  await writeFully(file, header);
  let at = header.byteLength;
  for (const tensor of tensors) {
    const data = ggufData(tensor);
    const padding = -at & (ALIGNMENT - 1);
    await writeFully(file, new Uint8Array(padding));
    await writeFully(file, data);
    at += padding + data.byteLength;
  }
}

function metadata(config: ShapeSizes): Record<string, Metadata> {
  return {
    "general.architecture": "llama",
    "general.alignment": { u32: ALIGNMENT },
    "general.file_type": { u32: MOSTLY_F16 },
    "llama.vocab_size": { u32: config.vocabSize },
    "llama.context_length": { u32: config.maxPositionEmbeddings },
    "llama.embedding_length": { u32: config.hiddenSize },
    "llama.block_count": { u32: config.numLayers },
    "llama.feed_forward_length": { u32: config.intermediateSize },
    "llama.attention.head_count": { u32: config.numHeads },
    "llama.attention.head_count_kv": { u32: config.numKvHeads },
    "llama.attention.layer_norm_rms_epsilon": { f32: config.rmsNormEps },
    "llama.rope.freq_base": { f32: config.ropeTheta },
    "llama.rope.dimension_count": { u32: config.headDim },
    ...vocabulary(config.vocabSize),
  };
}

/** The smallest vocabulary llama.cpp takes: three special tokens, all bytes, words for the rest. */
function vocabulary(size: number): Record<string, Metadata> {
  const special = ["<unk>", "<s>", "</s>"];
  const tokens = Array.from({ length: size }, (_, id) => {
    if (id < 3) return special[id]!;
    const byte = id - 3;
    return byte < 256 ? `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>` : `word${id}`;
  });
  const { normal, unknown, control, byte } = TOKEN_TYPE;
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": { strings: tokens },
    "tokenizer.ggml.scores": { f32s: tokens.map((_, id) => -id) },
    "tokenizer.ggml.token_type": {
      i32s: tokens.map((_, id) => id === 0 ? unknown : id < 3 ? control : id < 259 ? byte : normal),
    },
    "tokenizer.ggml.bos_token_id": { u32: 1 },
    "tokenizer.ggml.eos_token_id": { u32: 2 },
    "tokenizer.ggml.unknown_token_id": { u32: 0 },
  };
}

/** Everything before the first tensor's data, whose offsets count from its aligned end. */
function ggufHeader(config: ShapeSizes, tensors: readonly RandomTensor[]): Uint8Array {
  const out = new LittleEndianWriter();
  const pairs = Object.entries(metadata(config));
  out.u32(MAGIC).u32(VERSION).u64(tensors.length).u64(pairs.length);
  for (const [key, value] of pairs) {
    out.string(key);
    putValue(out, value);
  }
  let offset = 0;
  for (const { name, shape } of tensors) {
    const type = shape.length === 1 ? "f32" : "f16";
    out.string(ggufName(name)).u32(shape.length);
    // Fastest dimension first.
    for (const extent of shape.toReversed()) out.u64(extent);
    out.u32(TENSOR_TYPE[type]).u64(offset);
    offset = aligned(offset + (type === "f32" ? 4 : 2) * shape.reduce((a, b) => a * b));
  }
  return out.bytes();
}

function putValue(out: LittleEndianWriter, value: Metadata): void {
  if (typeof value === "string") out.u32(VALUE_TYPE.string).string(value);
  else if ("u32" in value) out.u32(VALUE_TYPE.u32).u32(value.u32);
  else if ("f32" in value) out.u32(VALUE_TYPE.f32).f32(value.f32);
  else if ("strings" in value) {
    out.u32(VALUE_TYPE.array).u32(VALUE_TYPE.string).u64(value.strings.length);
    for (const each of value.strings) out.string(each);
  } else if ("f32s" in value) {
    out.u32(VALUE_TYPE.array).u32(VALUE_TYPE.f32).u64(value.f32s.length);
    for (const each of value.f32s) out.f32(each);
  } else {
    out.u32(VALUE_TYPE.array).u32(VALUE_TYPE.i32).u64(value.i32s.length);
    for (const each of value.i32s) out.u32(each);
  }
}

function aligned(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

const PARTS: Readonly<Record<string, string>> = {
  "input_layernorm": "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "post_attention_layernorm": "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** What GGUF calls a tensor of a Hugging Face Llama. */
function ggufName(name: string): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  const known = PARTS[part ?? ""];
  if (known === undefined) throw new TypeError(`Cannot name tensor "${name}" in GGUF`);
  return `blk.${layer}.${known}.weight`;
}

function ggufData({ shape, ropeHeads, values }: RandomTensor): Uint8Array {
  const halves = values();
  if (shape.length === 1) {
    return new Uint8Array(Float32Array.from(new Float16Array(halves.buffer)).buffer);
  }
  const rows = ropeHeads === undefined ? halves : interleaveRows(halves, shape, ropeHeads);
  return new Uint8Array(rows.buffer);
}

/** Within each head, rows `i` and `i + D/2` become rows `2i` and `2i + 1`. */
function interleaveRows(
  halves: Uint16Array<ArrayBuffer>,
  [rows, columns]: readonly number[],
  numHeads: number,
): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(halves.length);
  const headDim = rows! / numHeads;
  for (let row = 0; row < rows!; row++) {
    const [head, dim] = [Math.floor(row / headDim), row % headDim];
    const place = dim < headDim / 2 ? 2 * dim : 2 * (dim - headDim / 2) + 1;
    const to = (head * headDim + place) * columns!;
    out.set(halves.subarray(row * columns!, (row + 1) * columns!), to);
  }
  return out;
}

import {
  GGUF_ALIGNMENT,
  GGUF_TYPE,
  ggufHeader,
  ggufName,
  interleaveRows,
  type Metadata,
} from "../../tests/support/gguf_writer.ts";
import type { ShapeSizes } from "../shapes.ts";
import type { RandomTensor } from "./random_checkpoint.ts";
import { writeFully } from "./write_fully.ts";

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
  const header = ggufHeader(metadata(config), tensors.map(entryOf));
  await writeFully(file, header);
  let at = header.byteLength;
  for (const tensor of tensors) {
    const data = ggufData(tensor);
    const padding = -at & (GGUF_ALIGNMENT - 1);
    await writeFully(file, new Uint8Array(padding));
    await writeFully(file, data);
    at += padding + data.byteLength;
  }
}

function metadata(config: ShapeSizes): Record<string, Metadata> {
  return {
    "general.architecture": "llama",
    "general.alignment": { u32: GGUF_ALIGNMENT },
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
export function vocabulary(size: number): Record<string, Metadata> {
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

function entryOf({ name, shape }: RandomTensor) {
  const isVector = shape.length === 1;
  return {
    name: ggufName(name),
    shape,
    type: isVector ? GGUF_TYPE.F32 : GGUF_TYPE.F16,
    numBytes: (isVector ? 4 : 2) * shape.reduce((a, b) => a * b),
  };
}

function ggufData({ shape, ropeHeads, values }: RandomTensor): Uint8Array {
  const halves = values();
  if (shape.length === 1) {
    return new Uint8Array(Float32Array.from(new Float16Array(halves.buffer)).buffer);
  }
  const rows = ropeHeads === undefined ? halves : interleaveRows(halves, shape, ropeHeads);
  return new Uint8Array(rows.buffer);
}

import { assert, assertEquals } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { blockNotices } from "../../src/runner/device_dtypes.ts";
import { type BlockType, dequantize, TENSOR_TYPES } from "../../src/weights/gguf/tensor_types.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { gpuTest, noise } from "../support/agreement.ts";
import { encodeQ4_0, encodeQ8_0 } from "../support/gguf_checkpoint.ts";
import { GGUF_TYPE, ggufFile, type GgufTensorData } from "../support/gguf_writer.ts";
import { encodeQ4_K, encodeQ6_K } from "../support/k_quants.ts";
import { Scorer } from "../support/perplexity.ts";
import { cases } from "../support/runs.ts";
import { f32Tensor, SMALL_METADATA, smallVocabulary } from "../weights/gguf/small_gguf.ts";

/** A Llama with rows of one block and of two. */
const [HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, LAYERS, VOCAB] = [256, 512, 4, 2, 64, 2, 259];
const METADATA = {
  ...SMALL_METADATA,
  ...smallVocabulary(),
  "llama.embedding_length": { u32: HIDDEN },
  "llama.block_count": { u32: LAYERS },
  "llama.feed_forward_length": { u32: INNER },
  "llama.attention.head_count": { u32: HEADS },
  "llama.attention.head_count_kv": { u32: KV_HEADS },
};

const ENCODERS = { Q8_0: encodeQ8_0, Q4_0: encodeQ4_0, Q4_K: encodeQ4_K, Q6_K: encodeQ6_K };
type Kept = keyof typeof ENCODERS;
const KEPT_AS = { Q8_0: "int8g32", Q4_0: "int4g32", Q4_K: "q4_k", Q6_K: "q6_k" } as const;

/** All matrices of the model in one type, and the same numbers in f32. */
function modelFiles(name: Kept): { blocks: Uint8Array; numbers: Uint8Array } {
  const blocks: Record<string, GgufTensorData> = {};
  const numbers: Record<string, GgufTensorData> = {};
  let seed = 1;
  const matrix = (key: string, rows: number, columns: number) => {
    const values = noise(rows * columns, seed++, 3 / Math.sqrt(columns));
    const bytes = ENCODERS[name](values);
    blocks[key] = { shape: [rows, columns], type: GGUF_TYPE[name], bytes };
    const type = TENSOR_TYPES.find((type) => type.name === name) as BlockType;
    dequantize(type, bytes, values);
    numbers[key] = f32Tensor([rows, columns], values);
  };
  const norm = (key: string) => {
    const values = noise(HIDDEN, seed++, 0.5).map((value) => 1 + value);
    blocks[key] = numbers[key] = f32Tensor([HIDDEN], values);
  };
  matrix("token_embd.weight", VOCAB, HIDDEN);
  matrix("output.weight", VOCAB, HIDDEN);
  norm("output_norm.weight");
  for (let layer = 0; layer < LAYERS; layer++) {
    const part = (key: string) => `blk.${layer}.${key}.weight`;
    norm(part("attn_norm"));
    matrix(part("attn_q"), HEADS * HEAD_DIM, HIDDEN);
    matrix(part("attn_k"), KV_HEADS * HEAD_DIM, HIDDEN);
    matrix(part("attn_v"), KV_HEADS * HEAD_DIM, HIDDEN);
    matrix(part("attn_output"), HIDDEN, HEADS * HEAD_DIM);
    norm(part("ffn_norm"));
    matrix(part("ffn_gate"), INNER, HIDDEN);
    matrix(part("ffn_up"), INNER, HIDDEN);
    matrix(part("ffn_down"), HIDDEN, INNER);
  }
  return { blocks: ggufFile(METADATA, blocks), numbers: ggufFile(METADATA, numbers) };
}

/** A prompt longer than any tile of few rows, and tokens that follow one at a time. */
const IDS = Array.from({ length: 40 }, (_, i) => (i * 37 + 5) % VOCAB);
const PROMPT = 24;
/**
 * Largest difference of log-probabilities: each product is off by less than 2e-6 of its sum of
 * magnitudes, some twenty times what the sum itself is, and 15 of them follow each other.
 */
const TOLERANCE = 15 * 20 * 2e-6;

async function logprobsOf(device: Device, modelDir: string): Promise<Float64Array> {
  const scorer = await Scorer.create(device, { modelDir, kvCacheDtype: "f32" });
  return (await scorer.score(IDS, PROMPT)).logprobs;
}

async function check(device: Device, name: Kept): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const { blocks, numbers } = modelFiles(name);
    await Deno.writeFile(`${dir}/blocks.gguf`, blocks);
    await Deno.writeFile(`${dir}/numbers.gguf`, numbers);
    const [notice, ...others] = noticesOf(`${dir}/blocks.gguf`);
    assertEquals(others, []);
    const kept = `${name}: ${2 + 7 * LAYERS} matrices are kept in blocks as ${KEPT_AS[name]}, `;
    assert(notice?.startsWith(kept), notice);
    const expected = await logprobsOf(new ReferenceDevice(), `${dir}/numbers.gguf`);
    const actual = await logprobsOf(device, `${dir}/blocks.gguf`);
    const worst = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)));
    assert(worst < TOLERANCE, `off by ${worst}`);
    assert(Math.max(...expected) - Math.min(...expected) > 1, "the model tells nothing apart");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function noticesOf(path: string): string[] {
  const source = findModelSource(path);
  const weights = source.openWeights();
  try {
    return blockNotices(weights, readModel(source.textFiles()).weights, undefined);
  } finally {
    weights.close();
  }
}

const what = (name: Kept) =>
  `a file of ${name} in its blocks gives the log-probabilities of its own numbers`;
for (const name of Object.keys(ENCODERS) as Kept[]) {
  Deno.test(`${what(name)} on the reference device`, () => check(new ReferenceDevice(), name));
}
for (const name of cases<Kept>(["Q4_K", "Q6_K", "Q8_0", "Q4_0"], 1)) {
  gpuTest(`${what(name)} on WebGPU`, (gpu) => check(gpu, name));
}

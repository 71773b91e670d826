import { assert, assertEquals } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import { parsePlanConfig } from "../../src/core/plan_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { weightBytes } from "../../src/runner/weight_buffers.ts";
import { quantBlockNotices } from "../../src/runner/load_notices.ts";
import { type BlockType, dequantize, TENSOR_TYPES } from "../../src/weights/gguf/tensor_types.ts";
import { fileWeights } from "../../src/server/file_weights.ts";
import { planCommand } from "../../src/server/plan_command.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { gpuTest, noise } from "../support/agreement.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
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

/** Which type each tensor has: one for all, or as files named Q4_K_M have them. */
type Mix = Kept | "Q4_K_M";

function typeIn(mix: Mix, key: string): Kept {
  if (mix !== "Q4_K_M") return mix;
  return /^output|attn_v|ffn_down/.test(key) ? "Q6_K" : "Q4_K";
}

/** The model's matrices in blocks, and the same numbers in f32. */
function modelFiles(mix: Mix): { blocks: Uint8Array; numbers: Uint8Array } {
  const blocks: Record<string, GgufTensorData> = {};
  const numbers: Record<string, GgufTensorData> = {};
  let seed = 1;
  const matrix = (key: string, rows: number, columns: number) => {
    const values = noise(rows * columns, seed++, 3 / Math.sqrt(columns));
    const name = typeIn(mix, key);
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

async function check(device: Device, mix: Mix): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const { blocks, numbers } = modelFiles(mix);
    await Deno.writeFile(`${dir}/blocks.gguf`, blocks);
    await Deno.writeFile(`${dir}/numbers.gguf`, numbers);
    const notices = noticesOf(`${dir}/blocks.gguf`);
    assertEquals(
      notices.map((notice) => notice.replace(/,.*$/, "")),
      keptIn(mix).map(([name, count]) =>
        `${name}: ${count} matrices are kept in blocks as ${KEPT_AS[name]}`
      ),
    );
    const expected = await logprobsOf(new ReferenceDevice(), `${dir}/numbers.gguf`);
    const actual = await logprobsOf(device, `${dir}/blocks.gguf`);
    const worst = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)));
    assert(worst < TOLERANCE, `off by ${worst}`);
    assert(Math.max(...expected) - Math.min(...expected) > 1, "the model tells nothing apart");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The types in the order of the model's matrices, and how many each has. */
function keptIn(mix: Mix): readonly (readonly [Kept, number])[] {
  if (mix !== "Q4_K_M") return [[mix, 2 + 7 * LAYERS]];
  return [["Q4_K", 1 + 5 * LAYERS], ["Q6_K", 1 + 2 * LAYERS]];
}

function noticesOf(path: string): string[] {
  const source = findModelSource(path);
  const weights = source.openCheckpoint();
  try {
    return quantBlockNotices(weights, readModel(source.textFiles()).weights, undefined);
  } finally {
    weights.close();
  }
}

const what = (mix: Mix) =>
  `a file of ${mix} in its blocks gives the log-probabilities of its own numbers`;
for (const mix of [...Object.keys(ENCODERS) as Kept[], "Q4_K_M"] as const) {
  Deno.test(`${what(mix)} on the reference device`, () => check(new ReferenceDevice(), mix));
}
for (const mix of cases<Mix>(["Q4_K_M", "Q6_K", "Q4_K", "Q8_0", "Q4_0"], 1)) {
  gpuTest(`${what(mix)} on WebGPU`, (gpu) => check(gpu, mix));
}

Deno.test("a plan counts what a file in blocks takes on a device, to the byte", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/mixed.gguf`;
    await Deno.writeFile(path, modelFiles("Q4_K_M").blocks);
    const source = findModelSource(path);
    const { weights: specs } = readModel(source.configFiles());
    const checkpoint = source.openCheckpoint();
    const { bytes, weight } = await uploadWeights(new ReferenceDevice(), checkpoint, specs);
    checkpoint.close();
    const largestMatrixBytes = Math.max(...specs.map(({ name }) => weightBytes(weight(name))));
    assertEquals(fileWeights(source), { format: "file", bytes, largestMatrixBytes });
    assertEquals(fileWeights(findModelSource(DEMO_DIR)), undefined);
    const plan = planCommand(parsePlanConfig([path], {})!);
    assert(/^Weights +\S+ \S+ as the file has them, \S+ \S+ in f16, /m.test(plan), plan);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

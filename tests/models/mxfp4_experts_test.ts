/** gpt-oss's experts in MXFP4: a model with them gives the logits of one with the same numbers. */
import { assert } from "@std/assert";
import { parseModel } from "../../models/registry.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest, noise, worstError } from "../support/agreement.ts";
import { Scorer } from "../support/perplexity.ts";
import { safetensorsFile, type TensorFixture } from "../weights/checkpoint_files.ts";

const CONFIG = {
  model_type: "gpt_oss",
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  intermediate_size: 32,
  num_local_experts: 5,
  num_experts_per_tok: 2,
  vocab_size: 96,
  max_position_embeddings: 512,
};
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const EXPERT_MATRIX = /experts\.(gate_up|down)_proj$/;

type Tensors = Record<string, TensorFixture>;

/** Everything but the experts' matrices, as noise around 0, or around 1 in norms. */
function sharedTensors(): Tensors {
  const tensors = parseModel(CONFIG).weights.flatMap(({ tensors, shapes }) =>
    tensors.map((name, i) => [name, shapes[i]!] as const)
  ).filter(([name]) => !EXPERT_MATRIX.test(name));
  return Object.fromEntries(tensors.map(([name, shape], number) => {
    const center = name.includes("norm") ? 1 : 0;
    const values = noise(shape.reduce((a, b) => a * b), number + 1, 0.5)
      .map((value) => value + center);
    return [name, { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) }];
  }));
}

/** An expert matrix [experts, rows, columns]: blocks and scales, and their numbers transposed. */
function expertMatrix(rows: number, columns: number, seed: number) {
  const numExperts = CONFIG.num_local_experts;
  const shape = [numExperts, rows, columns / 32];
  const count = numExperts * rows * columns;
  const blocks = Uint8Array.from(noise(count / 2, seed), (value) => (value + 1) * 128);
  const scales = Uint8Array.from(noise(count / 32, seed + 1), (value) => 125 + value * 2);
  const turned = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const code = blocks[i >> 1]! >> 4 * (i & 1) & 15;
    const value = E2M1[code & 7]! * (code > 7 ? -1 : 1) * 2 ** (scales[i >> 5]! - 127);
    const column = i % columns;
    const row = Math.floor(i / columns) % rows;
    const expert = Math.floor(i / columns / rows);
    turned[(expert * columns + column) * rows + row] = value;
  }
  return {
    blocks: { dtype: "U8", shape: [...shape, 16], bytes: blocks },
    scales: { dtype: "U8", shape, bytes: scales },
    numbers: {
      dtype: "F32",
      shape: [numExperts, columns, rows],
      bytes: new Uint8Array(turned.buffer),
    },
  };
}

/** The checkpoint with its experts in MXFP4, and with the same numbers in f32. */
function checkpoints(): { inBlocks: Tensors; inNumbers: Tensors } {
  const [inBlocks, inNumbers] = [sharedTensors(), sharedTensors()];
  for (let layer = 0; layer < CONFIG.num_hidden_layers; layer++) {
    for (
      const [name, rows, columns] of [["gate_up_proj", 64, 64], ["down_proj", 64, 32]] as const
    ) {
      const at = `model.layers.${layer}.mlp.experts.${name}`;
      const { blocks, scales, numbers } = expertMatrix(rows, columns, 10 * rows + columns + layer);
      inBlocks[`${at}_blocks`] = blocks;
      inBlocks[`${at}_scales`] = scales;
      inNumbers[at] = numbers;
    }
  }
  return { inBlocks, inNumbers };
}

async function logitsOf(device: Device, config: object, tensors: Tensors) {
  const modelDir = await Deno.makeTempDir({ prefix: "quire_mxfp4_" });
  try {
    await Deno.writeTextFile(`${modelDir}/config.json`, JSON.stringify(config));
    await Deno.writeFile(`${modelDir}/model.safetensors`, safetensorsFile(tensors));
    const scorer = await Scorer.create(device, { modelDir, kvCacheDtype: "f32" });
    return await scorer.logits(Array.from({ length: 24 }, (_, i) => 37 * i % 96));
  } finally {
    await Deno.remove(modelDir, { recursive: true });
  }
}

async function check(device: Device): Promise<void> {
  const { inBlocks, inNumbers } = checkpoints();
  const config = { ...CONFIG, quantization_config: { quant_method: "mxfp4" } };
  const expected = await logitsOf(new ReferenceDevice(), CONFIG, inNumbers);
  const actual = await logitsOf(device, config, inBlocks);
  assert(new Set(expected[3]).size > 90, "no logits");
  const error = Math.max(...actual.map((row, i) => worstError(row, expected[i]!)));
  assert(error < 1e-3, `a logit is off by ${error}`);
}

Deno.test("experts in MXFP4 are their numbers, on the reference device", () =>
  check(new ReferenceDevice()));
gpuTest("experts in MXFP4 are their numbers, on WebGPU", check);

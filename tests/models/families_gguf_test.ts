/**
 * Every family that a converter writes as GGUF: the file gives the config and the tensors of the
 * checkpoint that it was made from, and a family that runs gives the golden logits.
 */
import { assert, assertEquals } from "@std/assert";
import { KNOWN_MODEL_TYPES } from "../../models/registry.ts";
import { readModelJson } from "../../src/core/model_json.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { decodeToF32 } from "../../src/weights/dtypes.ts";
import { shortNumber } from "../../src/weights/gguf/short_number.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { worstError } from "../support/agreement.ts";
import {
  decodedLogits,
  expectedLogits,
  type FamilyGolden,
  familyGoldens,
  withFamily,
} from "../support/family_golden.ts";
import { familyGguf, hasConverter, longropeAttentionFactor } from "../support/gguf_family.ts";
import { readTensor } from "../support/read_tensor.ts";

/** As in `families_test.ts`. */
const LOGIT_ERROR = 2e-3;
/** Tokens of the prompt whose logits are compared. */
const NUM_TOKENS = 48;

/** Fields that converters leave out, as they say what all models of the family do. */
const IMPLIED = [
  ...["hidden_act", "attention_bias", "mlp_bias", "use_sliding_window", "max_window_layers"],
  "clip_qkv",
  // The list of kinds of layers says it.
  "sliding_window_pattern",
];

/** Fields that GGUF gives another value than these configs have, which are no published ones. */
function changed({ config }: FamilyGolden): Record<string, unknown> {
  if (config["model_type"] === "mistral" && config["sliding_window"] === null) {
    return { model_type: "llama", sliding_window: undefined };
  }
  // Converters write no windows of Qwen2, whose published models have none in use.
  if (config["model_type"] === "qwen2") {
    return { sliding_window: undefined, use_sliding_window: false };
  }
  // What gpt-oss clamps gates to is the same in all published models.
  if (config["model_type"] === "gpt_oss") return { swiglu_limit: undefined };
  const scaling = config["rope_scaling"] as Record<string, unknown> | null | undefined;
  if (scaling?.["rope_type"] === "longrope") {
    const original_max_position_embeddings = config["original_max_position_embeddings"];
    const attention_factor = shortNumber(Math.fround(longropeAttentionFactor(config)));
    // A file says nothing of windows where there are none.
    const sliding_window = config["sliding_window"] ?? undefined;
    return {
      sliding_window,
      rope_scaling: { ...scaling, original_max_position_embeddings, attention_factor },
    };
  }
  // Not in the file: a head's size, but for two published models.
  if ("query_pre_attn_scalar" in config) return { query_pre_attn_scalar: config["head_dim"] };
  return {};
}

function numbersOf(weights: Checkpoint, name: string): Float32Array {
  const { dtype, numElements } = weights.tensor(name);
  const values = new Float32Array(numElements);
  decodeToF32(dtype, readTensor(weights, name), values);
  return values;
}

/** Compares a GGUF file with the checkpoint that it was made from. */
function checkFile(file: string, modelDir: string, golden: FamilyGolden): void {
  const [gguf, directory] = [findModelSource(file), findModelSource(modelDir)];
  const config = readModelJson(gguf.configFiles(), "config.json") as Record<string, unknown>;
  const expected = { ...golden.config, ...changed(golden) };
  for (const [field, value] of Object.entries(expected)) {
    if (!IMPLIED.includes(field)) assertEquals(config[field], value, `${golden.name}: ${field}`);
  }
  const [made, given] = [gguf.openCheckpoint(), directory.openCheckpoint()];
  try {
    // gpt-oss's are one tensor in a directory, and three in a file: their logits tell.
    const isStacked = (name: string) => golden.name === "gpt_oss" && name.includes(".experts.");
    const named = (weights: Checkpoint) => weights.names().filter((name) => !isStacked(name));
    assertEquals(named(made).toSorted(), named(given).toSorted());
    for (const name of named(given)) {
      assertEquals(made.tensor(name).shape, given.tensor(name).shape, name);
      assertEquals(numbersOf(made, name), numbersOf(given, name), `${golden.name}: ${name}`);
    }
  } finally {
    made.close();
    given.close();
  }
}

for (const golden of familyGoldens()) {
  const modelType = golden.config["model_type"];
  if (!hasConverter(modelType)) continue;
  // A GGUF file cannot say which layers of a model with experts are dense.
  if (((golden.config["mlp_only_layers"] ?? []) as number[]).length > 0) continue;
  Deno.test(`${golden.name} as a GGUF file is the model that it was made from`, () =>
    withFamily(golden, async (modelDir) => {
      const file = `${modelDir}/model.gguf`;
      await Deno.writeFile(file, familyGguf(modelDir));
      checkFile(file, modelDir, golden);
      if (KNOWN_MODEL_TYPES.includes(String(modelType))) await checkLogits(file, modelDir, golden);
    }));
}

/** Whether what GGUF changes of a config changes what is computed. */
function isAnother(golden: FamilyGolden): boolean {
  return ["query_pre_attn_scalar", "use_sliding_window", "swiglu_limit"]
    .some((field) => field in changed(golden) && changed(golden)[field] !== golden.config[field]);
}

/** Compares logits with the golden ones, or with those of the directory where its config is changed. */
async function checkLogits(file: string, modelDir: string, golden: FamilyGolden): Promise<void> {
  const prompt = golden.prompt.slice(0, NUM_TOKENS);
  const logitsOf = async (model: string) =>
    (await decodedLogits(new ReferenceDevice(), model, { ...golden, prompt })).slice(0, NUM_TOKENS);
  const logits = await logitsOf(file);
  assertEquals(logits.length, NUM_TOKENS);
  if (!isAnother(golden)) {
    const expected = expectedLogits(golden);
    for (const [position, row] of logits.entries()) {
      const error = worstError(row, expected[position]!);
      assert(error < LOGIT_ERROR, `after position ${position} logits are off by ${error}`);
    }
    return;
  }
  const config = { ...golden.config, ...changed(golden) };
  await Deno.writeTextFile(`${modelDir}/config.json`, JSON.stringify(config));
  assertEquals(logits, await logitsOf(modelDir));
}

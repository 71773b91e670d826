/**
 * Checkpoints of several modalities: their text models give the logits of the same model alone, from
 * configs and names of tensors as such checkpoints have them, old and new; encoders are not loaded.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { parseModel, TEXT_PART_MODEL_TYPES } from "../../models/registry.ts";
import { StartupError } from "../../src/core/errors.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { textCheckpoint } from "../../src/weights/text_part.ts";
import { unusedTensors } from "../../src/runner/load_notices.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import { type FamilyGolden, familyGoldens, withFamily } from "../support/family_golden.ts";
import { configJson } from "./config_fixtures.ts";

type Fields = Readonly<Record<string, unknown>>;

/** How a checkpoint of several modalities has a text model. */
interface Wrapping {
  /** The golden case of the text model. */
  readonly text: string;
  readonly config: (text: Fields) => Fields;
  readonly rename: (name: string) => string;
  /** Tensors of its encoder. */
  readonly encoder: readonly string[];
}

const within = (name: string) => `language_model.${name}`;
const inside = (name: string) => name.replace(/^model\./, "model.language_model.");
const VISION = { vision_config: { hidden_size: 8 } };
const SECTIONS = { mrope_section: [2, 3, 3] };

const WRAPPINGS: Readonly<Record<string, Wrapping>> = {
  "gemma3, as published": {
    text: "gemma3_text",
    config: (text) => ({ model_type: "gemma3", text_config: text, ...VISION }),
    rename: within,
    encoder: ["vision_tower.vision_model.head.weight", "multi_modal_projector.mm_soft.weight"],
  },
  "mistral3, as published": {
    text: "mistral",
    config: (text) => ({ model_type: "mistral3", text_config: text, ...VISION }),
    rename: within,
    encoder: ["vision_tower.patch_conv.weight", "multi_modal_projector.linear_1.weight"],
  },
  "mistral3, written by a newer library": {
    text: "mistral with YaRN",
    config: (text) => ({ model_type: "mistral3", text_config: text, ...VISION }),
    rename: inside,
    encoder: ["model.vision_tower.patch_conv.weight", "model.multi_modal_projector.norm.weight"],
  },
  "mistral3 of Ministral 3, as published": {
    text: "ministral3",
    config: (text) => ({ model_type: "mistral3", text_config: text, ...VISION }),
    rename: within,
    encoder: ["vision_tower.ln_pre.weight", "multi_modal_projector.norm.weight"],
  },
  "qwen2_5_vl, all fields in one": {
    text: "qwen2",
    config: (text) => ({
      ...text,
      ...VISION,
      model_type: "qwen2_5_vl",
      rope_scaling: { type: "mrope", ...SECTIONS },
    }),
    rename: (name) => name,
    encoder: ["visual.blocks.0.norm1.weight"],
  },
  "qwen2_vl, written by a newer library": {
    text: "qwen2",
    config: ({ tie_word_embeddings, ...text }) => ({
      model_type: "qwen2_vl",
      tie_word_embeddings,
      text_config: {
        ...text,
        model_type: "qwen2_vl_text",
        rope_scaling: { type: "default", rope_type: "default", ...SECTIONS },
      },
      ...VISION,
    }),
    rename: inside,
    encoder: ["model.visual.blocks.0.norm1.weight"],
  },
  "qwen3_vl": {
    text: "qwen3",
    config: (text) => ({
      model_type: "qwen3_vl",
      text_config: {
        ...text,
        model_type: "qwen3_vl_text",
        rope_scaling: { rope_type: "default", mrope_interleaved: true, ...SECTIONS },
      },
      ...VISION,
    }),
    rename: inside,
    encoder: ["model.visual.patch_embed.proj.weight"],
  },
};

function wrapped({ text, config, rename, encoder }: Wrapping): FamilyGolden {
  const golden = familyGoldens().find(({ name }) => name === text)!;
  const tensors = golden.tensors.map(([name, ...rest]) => [rename(name), ...rest] as const);
  return {
    ...golden,
    config: config(golden.config),
    // Behind the others, whose numbers decide their weights.
    tensors: [...tensors, ...encoder.map((name) => [name, [4, 4]] as const)],
  };
}

for (const [name, wrapping] of Object.entries(WRAPPINGS)) {
  Deno.test(`${name}: the text model gives the greedy tokens that it gives alone`, async () => {
    const golden = wrapped(wrapping);
    await withFamily(golden, async (modelDir) => {
      const engine = await DemoEngine.create(new ReferenceDevice(), {
        modelDir,
        kvCacheDtype: "f32",
      });
      const { prompt, tokens } = golden;
      const params = { ...GREEDY_64, maxTokens: tokens.length };
      const [outcome] = await engine.generate([{ prompt, params }]);
      assertEquals(outcome!.tokens, tokens);
    });
  });
}

Deno.test("every model_type of several modalities is tested", () => {
  const tested = Object.values(WRAPPINGS).map((wrapping) => wrapped(wrapping).config["model_type"]);
  assertEquals(new Set(tested), new Set(TEXT_PART_MODEL_TYPES));
});

Deno.test("textWeights() leaves encoders out, which are neither missed nor unknown", async () => {
  const golden = wrapped(WRAPPINGS["gemma3, as published"]!);
  await withFamily(golden, (modelDir) => {
    const checkpoint = openSafetensors(modelDir);
    const text = textCheckpoint(checkpoint);
    assertEquals(text.names().length, checkpoint.names().length - 2);
    assertEquals(text.tensor("model.norm.weight").name, "model.norm.weight");
    assertEquals(unusedTensors(text.names(), parseModel(golden.config)), []);
    assertThrows(() => text.tensor("model.nothing"), StartupError, '"model.nothing"');
    text.close();
    return Promise.resolve();
  });
});

Deno.test("parseModel() says that images are refused, and fills in what gemma3's text_config leaves out", () => {
  // As the smallest published one with images has it.
  const text_config = {
    model_type: "gemma3_text",
    hidden_size: 2560,
    intermediate_size: 10_240,
    num_hidden_layers: 34,
    rope_scaling: { factor: 8, rope_type: "linear" },
    sliding_window: 1024,
  };
  const model = parseModel({ model_type: "gemma3", text_config, vision_config: {} });
  assertEquals(model.attention[0], { numHeads: 8, numKvHeads: 4, headDim: 256 });
  assertEquals([model.vocabSize, model.maxPositionEmbeddings], [262_208, 131_072]);
  assertEquals([model.modelType, model.isTextPart], ["gemma3", true]);
  assertEquals(model.warnings, [
    'config.json: model_type is "gemma3", of several modalities: its text model is served, and ' +
    "images are refused",
  ]);
});

Deno.test("parseModel() refuses a text_config that it cannot run, naming the field", () => {
  const refuses = (text_config: unknown, part: string) =>
    assertThrows(() => parseModel({ model_type: "mistral3", text_config }), StartupError, part);
  refuses({ ...configJson(), model_type: "mamba" }, 'field "text_config.model_type" is "mamba"');
  refuses({ ...configJson(), model_type: "mistral", hidden_size: 0 }, "config.json text_config:");
  const ministral = familyGoldens().find(({ name }) => name === "ministral3")!.config;
  const quantized = { model_type: "mistral3", text_config: ministral, quantization_config: {} };
  assertThrows(
    () => parseModel(quantized),
    StartupError,
    'text_config: field "quantization_config"',
  );
  refuses({}, 'config.json text_config: field "hidden_size" is missing');
});

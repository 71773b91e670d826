/** What config.json files of Gemma 2 and Gemma 3 say; `families_test.ts` has what comes of it. */
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { Model } from "../../models/model.ts";
import { parseModel } from "../../models/registry.ts";
import type { Constants } from "../../src/device/kernel.ts";
import { StartupError } from "../../src/core/errors.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { modelGraph } from "../support/model_graph.ts";
import { configJson } from "./config_fixtures.ts";

type Changes = Record<string, unknown>;

const gemma2 = (changes: Changes = {}) =>
  parseModel(configJson({ model_type: "gemma2", num_hidden_layers: 4, ...changes }));
const gemma3 = (changes: Changes = {}) =>
  parseModel(configJson({ model_type: "gemma3_text", num_hidden_layers: 7, ...changes }));

function refuses(parse: (changes: Changes) => Model, changes: Changes, part: string): void {
  assertThrows(() => parse(changes), StartupError, part);
}

/** The window of each layer; 0 for one that reads all. */
function windowsOf({ caches }: Model): number[] {
  return caches.map((cache) => cache?.kind === "sliding_window" ? cache.window : 0);
}

/** The constants of a model's calls with this label. */
function constantsOf(model: Model, label: string): Constants[] {
  return modelGraph(model, { dtype: "f32", tuning: SOFTWARE_TUNING })
    .filter((call) => call.label === label).map(({ constants }) => constants);
}

function valuesOf(model: Model, label: string, constant: string): unknown[] {
  const values = constantsOf(model, label).map((constants) => constants[constant]);
  return [...new Set(values)].filter((value) => value !== undefined);
}

Deno.test("what a Gemma 2 leaves out is as its makers have it", () => {
  const model = gemma2();
  assertEquals(model.attention[0], { numHeads: 8, numKvHeads: 8, headDim: 256 });
  assertEquals(windowsOf(model), [4096, 0, 4096, 0]);
  assertEquals(model.ignoredTensors, ["lm_head.weight"]);
  assertEquals(valuesOf(model, "head", "SOFT_CAP"), [30]);
  assertEquals(valuesOf(model, "paged_attention_decode", "SOFT_CAP"), [50]);
  assertEquals(valuesOf(model, "paged_attention_decode", "SCALE"), [1 / 16]);
  assertEquals(valuesOf(model, "gate_up", "EPILOGUE"), ["gelu_tanh"]);
  assertEquals(valuesOf(model, "embed_tokens", "SCALE"), [8]);
  assertEquals(valuesOf(gemma2({ hidden_size: 72 }), "embed_tokens", "SCALE"), [
    Math.fround(Math.sqrt(72)),
  ]);
});

Deno.test("a Gemma's norms are stored less one, all of them, and lie around both blocks", () => {
  for (const model of [gemma2(), gemma3()]) {
    const norms = model.weights.filter(({ tensors }) => tensors.every((name) => /norm/.test(name)));
    assertEquals([...new Set(norms.map(({ addend }) => addend))], [1]);
    const names = norms.filter(({ name }) => name.startsWith("0.")).flatMap(({ tensors }) =>
      tensors
    );
    const own = model.modelType === "gemma2" ? [] : ["self_attn.q_norm", "self_attn.k_norm"];
    assertEquals(
      names,
      [
        "input_layernorm",
        ...own,
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
      ].map((name) => `model.layers.0.${name}.weight`),
    );
    assertEquals(model.weights.filter(({ addend }) => addend !== undefined), norms);
  }
});

Deno.test("null switches a Gemma 2's soft caps off", () => {
  const model = gemma2({ attn_logit_softcapping: null, final_logit_softcapping: null });
  assertEquals(valuesOf(model, "head", "SOFT_CAP"), [0]);
  assertEquals(valuesOf(model, "paged_attention_decode", "SOFT_CAP"), [0]);
  refuses(gemma2, { final_logit_softcapping: 0 }, 'field "final_logit_softcapping" is 0');
  refuses(gemma2, { attn_logit_softcapping: -1 }, 'field "attn_logit_softcapping" is -1');
});

Deno.test("hidden_activation says what a Gemma computes, whatever hidden_act says", () => {
  const model = gemma2({ hidden_act: "relu", hidden_activation: "gelu" });
  assertEquals(valuesOf(model, "gate_up", "EPILOGUE"), ["gelu"]);
  refuses(gemma2, { hidden_activation: "relu" }, "known are gelu_pytorch_tanh, gelu, silu");
});

Deno.test("what a Gemma's graph lacks is refused by name", () => {
  for (const parse of [gemma2, gemma3]) {
    refuses(
      parse,
      { use_bidirectional_attention: true },
      "bidirectional attention is not supported",
    );
    refuses(parse, { attention_bias: true }, "biases are not supported");
    refuses(parse, { layer_types: ["full_attention"] }, 'field "layer_types" has 1 entries');
    refuses(parse, { sliding_window: null }, 'field "sliding_window" is missing');
    refuses(parse, { query_pre_attn_scalar: 0 }, 'field "query_pre_attn_scalar" is 0');
    refuses(parse, { partial_rotary_factor: 0.5 }, 'field "partial_rotary_factor" is 0.5');
    parse({ use_bidirectional_attention: false, attention_bias: null });
  }
  refuses(gemma3, { attn_logit_softcapping: 50 }, "soft caps of attention are not supported");
  refuses(gemma2, { rope_parameters: { full_attention: { rope_theta: 1 } } }, "per kind of layer");
});

Deno.test("layer_types say which layers of a Gemma read a window, before any pattern", () => {
  const types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
  assertEquals(windowsOf(gemma2({ layer_types: types, sliding_window: 9 })), [0, 9, 0, 9]);
  const listed = { layer_types: types, num_hidden_layers: 4, sliding_window_pattern: 2 };
  assertEquals(windowsOf(gemma3({ ...listed, sliding_window: 9 })), [0, 9, 0, 9]);
});

Deno.test("a Gemma 3 has five layers with a window for each that reads all, or as its pattern says", () => {
  const windows = { sliding_window: 512 };
  assertEquals(windowsOf(gemma3(windows)), [512, 512, 512, 512, 512, 0, 512]);
  for (const name of ["sliding_window_pattern", "_sliding_window_pattern"]) {
    assertEquals(windowsOf(gemma3({ ...windows, [name]: 3 })), [512, 512, 0, 512, 512, 0, 512]);
  }
  assertEquals(valuesOf(gemma3(), "head", "SOFT_CAP"), [0]);
  assertEquals(valuesOf(gemma3({ final_logit_softcapping: 20 }), "head", "SOFT_CAP"), [20]);
  const [scale] = valuesOf(
    gemma3({ query_pre_attn_scalar: 168 }),
    "paged_attention_decode",
    "SCALE",
  );
  assertAlmostEquals(scale as number, 1 / Math.sqrt(168), 1e-12);
});

Deno.test("a Gemma 3 scales the rotary frequencies of layers that read all, and of no others", () => {
  const linear = { rope_type: "linear", factor: 8 };
  const old = gemma3({ rope_theta: 2e6, rope_local_base_freq: 5000, rope_scaling: linear });
  const full = { rotaryDim: 256, theta: 2e6, scaling: { type: "linear" as const, factor: 8 } };
  const local = { rotaryDim: 256, theta: 5000, scaling: undefined };
  assertEquals(old.positionTables, { rope: full, local_rope: local });
  const parameters = {
    full_attention: { ...linear, rope_theta: 2e6 },
    sliding_attention: { rope_type: "default", rope_theta: 5000 },
  };
  assertEquals(gemma3({ rope_parameters: parameters }).positionTables, old.positionTables);
  const { rope, local_rope } = gemma3().positionTables;
  assertEquals([rope!.theta, local_rope!.theta], [1e6, 1e4]);
  refuses(gemma3, { rope_scaling: { rope_type: "stretched", factor: 2 } }, 'type is "stretched"');
});

Deno.test("a Gemma 3 ends where a dynamic scaling of either kind of layer would begin", () => {
  const dynamic = { rope_type: "dynamic", factor: 2, original_max_position_embeddings: 96 };
  const plain = { rope_type: "default" };
  const ends = [{ full: dynamic, local: plain }, { full: plain, local: dynamic }].map((kinds) =>
    gemma3({
      max_position_embeddings: 128,
      rope_parameters: { full_attention: kinds.full, sliding_attention: kinds.local },
    }).maxPositionEmbeddings
  );
  assertEquals(ends, [96, 96]);
});

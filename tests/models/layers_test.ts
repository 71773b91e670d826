import { assert, assertEquals, assertThrows } from "@std/assert";
import { decoder } from "../../models/decoder.ts";
import {
  attention,
  type AttentionOptions,
  embedding,
  feedForward,
  lmHead,
} from "../../models/layers.ts";
import type { Model } from "../../models/model.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { modelGraph } from "../support/model_graph.ts";

const SIZES = {
  ...{ vocabSize: 96, hiddenSize: 32, intermediateSize: 64, rmsNormEps: 1e-6 },
  ...{ numHeads: 4, numKvHeads: 2, headDim: 16, tieWordEmbeddings: true },
};

/** A model whose layers attend with these options. */
function modelOf(...layers: readonly Partial<AttentionOptions>[]): Model {
  return decoder({
    ...{ modelType: "test", vocabSize: SIZES.vocabSize, maxPositionEmbeddings: 64 },
    embed: embedding(SIZES),
    layers: layers.map((options, layer) => [
      attention({ layer, ...SIZES, rope: "rope", ...options }),
      feedForward({ layer, ...SIZES }),
    ]),
    lmHead: lmHead(SIZES),
    positionTables: { rope: { rotaryDim: 16, theta: 1e4 } },
    ...{ ignoredTensors: [], warnings: [] },
  });
}

/** The constants of a kernel's calls, layer by layer. */
function constantsOf(model: Model, kernelName: string) {
  return modelGraph(model, { dtype: "f16", tuning: SOFTWARE_TUNING })
    .filter((call) => call.kernelName === kernelName)
    .map(({ constants }) => constants);
}

Deno.test("attention() declares what a layer keeps: all positions, or those of its window", () => {
  const heads = { numKvHeads: 2, headDim: 16 };
  const { caches } = modelOf({}, { window: 8 });
  assertEquals(caches, [{ kind: "full", ...heads }, {
    kind: "sliding_window",
    window: 8,
    ...heads,
  }]);
  const decodes = constantsOf(modelOf({}, { window: 8 }), "paged_attention_decode");
  assertEquals(decodes.map(({ WINDOW, GROUP }) => [WINDOW, GROUP]), [[0, 0], [8, 1]]);
});

Deno.test("attention() scales and caps scores as told, and by 1 / sqrt(D) without a cap otherwise", () => {
  const model = modelOf({}, { scale: 0.5, softCap: 30 });
  const decodes = constantsOf(model, "paged_attention_decode");
  assertEquals(decodes.map(({ SCALE, SOFT_CAP }) => [SCALE, SOFT_CAP]), [[0.25, 0], [0.5, 30]]);
});

Deno.test("attention() rotates a head, a part of it, or nothing", () => {
  const model = modelOf({}, { rotaryDim: 8 }, { rope: undefined });
  const stored = constantsOf(model, "rope_store_kv");
  assertEquals(stored.map(({ ROTARY_DIM }) => ROTARY_DIM), [16, 8, 0]);
});

Deno.test("attention() that reads an earlier layer's KV has queries alone and keeps nothing", () => {
  const options = { kvLayer: 0, normalizes: "heads", hasBiases: true } as const;
  const model = modelOf({ window: 8 }, options);
  assertEquals(model.caches[1], undefined);
  assertEquals(model.attention[1], { numHeads: 4, numKvHeads: 2, headDim: 16 });
  const own = model.weights.filter(({ name }) => /^1\.(qkv|head_norms)/.test(name));
  assertEquals(own.map(({ tensors }) => tensors.map((name) => name.split("self_attn.")[1])), [
    ...[["q_proj.weight"], ["q_proj.bias"], ["q_norm.weight"]],
  ]);
  assertEquals(own.map(({ shapes }) => shapes), [[[64, 32]], [[64]], [[16]]]);
  const stored = constantsOf(model, "rope_store_kv");
  assertEquals(stored.map(({ HEADS, STORES }) => [HEADS, STORES]), [[8, true], [4, false]]);
  // It reads as far back as the layer whose KV it is.
  const decodes = constantsOf(model, "paged_attention_decode");
  assertEquals(decodes.map(({ WINDOW, QKV_HEADS }) => [WINDOW, QKV_HEADS]), [[8, 8], [8, 4]]);
  assertThrows(() => constantsOf(modelOf({}, { kvLayer: 0 }, { kvLayer: 1 }), "rope_store_kv"));
});

Deno.test("attention() normalizes whole rows of queries and of keys, each over its own width", () => {
  const [both, queries] = constantsOf(
    modelOf({ normalizes: "rows" }, { normalizes: "rows", kvLayer: 0 }),
    "norm_parts",
  );
  assertEquals([both!.FIRST, both!.SECOND, both!.STRIDE], [64, 32, 128]);
  assertEquals([queries!.FIRST, queries!.SECOND, queries!.STRIDE], [64, 0, 64]);
});

Deno.test("decoder() makes shared buffers as large as the sublayer that needs most of each", () => {
  const model = modelOf({}, { kvLayer: 0 });
  assertEquals(model.buffers.qkv, { per: "token", words: 128 });
  assertEquals(modelOf({}, { numHeads: 8, headDim: 32, numKvHeads: 1 }).buffers.qkv!.words, 320);
  assertThrows(
    () =>
      decoder({
        ...{ modelType: "test", vocabSize: 96, maxPositionEmbeddings: 64 },
        embed: embedding(SIZES),
        layers: [[attention({ layer: 0, ...SIZES }), attention({ layer: 0, ...SIZES })]],
        lmHead: lmHead(SIZES),
        ...{ positionTables: {}, ignoredTensors: [], warnings: [] },
      }),
    Error,
    "a layer has more than one sublayer of attention",
  );
});

Deno.test("a model's graph computes its first layers alone where it is told to", () => {
  const model = modelOf({}, {}, {});
  const numCalls = (numLayers: number) => {
    const caches = model.caches.slice(0, numLayers);
    return modelGraph({ ...model, caches }, { dtype: "f16", tuning: SOFTWARE_TUNING })
      .filter(({ kernelName }) => kernelName === "rope_store_kv").length;
  };
  assertEquals([1, 2, 3].map(numCalls), [1, 2, 3]);
  assert(model.weights.length > 3 * 6);
});

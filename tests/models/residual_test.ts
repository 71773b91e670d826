/** How sublayers read the residual stream and add to it: where norms lie, and which factors act. */
import { assertEquals } from "@std/assert";
import { decoder } from "../../models/decoder.ts";
import { attention, embedding, feedForward, lmHead } from "../../models/layers.ts";
import type { Model } from "../../models/model.ts";
import type { SublayerNorms } from "../../models/residual.ts";
import type { StepDims } from "../../kernels/step.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { modelGraph } from "../support/model_graph.ts";

const SIZES = {
  ...{ vocabSize: 96, hiddenSize: 32, intermediateSize: 64, rmsNormEps: 1e-6 },
  ...{ numHeads: 4, numKvHeads: 2, headDim: 16, tieWordEmbeddings: true },
};

interface Options {
  readonly norms: SublayerNorms;
  readonly residualScale?: number;
  readonly hasBiases?: boolean;
}

/** One layer, both of whose sublayers have these options, and a model's other factors. */
function modelOf({ norms, residualScale = 1, hasBiases = false }: Options): Model {
  const shared = { layer: 0, ...SIZES, norms, residualScale, hasBiases };
  return decoder({
    ...{ modelType: "test", vocabSize: SIZES.vocabSize, maxPositionEmbeddings: 64 },
    embed: embedding(SIZES, { scale: 12 }),
    layers: [[
      attention({ ...shared, rope: "rope", hasOutputBias: hasBiases }),
      feedForward(shared),
    ]],
    lmHead: lmHead({ ...SIZES, logitScale: 0.125 }),
    positionTables: { rope: { rotaryDim: 16, theta: 1e4 } },
    ...{ ignoredTensors: [], warnings: [] },
  });
}

/** The calls of a model's graph, one of each product in place of one per tile. */
function graphOf(model: Model): KernelCall<StepDims>[] {
  const seen = new Set<string>();
  return modelGraph(model, { dtype: "f16", tuning: SOFTWARE_TUNING }).filter((call) => {
    const name = `${call.label} ${call.kernelName}`;
    return seen.size < seen.add(name).size;
  });
}

/** What the graph calls in the sublayers: label, kernel, what becomes of sums, and factor. */
function callsOf(model: Model): unknown[][] {
  return graphOf(model)
    .filter(({ label }) => ["qkv", "o", "gate_up", "down"].includes(label))
    .map(({ label, kernelName, constants }) =>
      [label, kernelName, constants["EPILOGUE"], constants["SCALE"]]
        .filter((part) => part !== undefined)
    );
}

const SCALE = Math.fround(0.22);

Deno.test("a norm before a sublayer is its first product's, and sums go to the residual stream", () => {
  const model = modelOf({ norms: { before: "norm_in" }, residualScale: 0.22 });
  assertEquals(callsOf(model), [
    ["qkv", "rms_norm"],
    ["qkv", "matmul", "store", 1],
    ["o", "matmul", "add", SCALE],
    ["gate_up", "rms_norm"],
    ["gate_up", "matmul", "silu", 1],
    ["down", "matmul", "add", SCALE],
  ]);
});

Deno.test("a norm after a sublayer takes what its last product stores, and has its factor", () => {
  const model = modelOf({ norms: { after: "norm_out" }, residualScale: 0.22 });
  assertEquals(callsOf(model), [
    ["qkv", "matmul", "store", 1],
    ["o", "matmul", "store", 1],
    ["o", "norm_add", SCALE],
    ["gate_up", "matmul", "silu", 1],
    ["down", "matmul", "store", 1],
    ["down", "norm_add", SCALE],
  ]);
  const both = callsOf(modelOf({ norms: { before: "norm_in", after: "norm_out" } }));
  assertEquals(both.map(([, kernel]) => kernel), [
    ...["rms_norm", "matmul", "matmul", "norm_add", "rms_norm", "matmul", "matmul", "norm_add"],
  ]);
});

Deno.test("embeddings and logits have factors of their own", () => {
  const scaleOf = (label: string) =>
    graphOf(modelOf({ norms: {} }))
      .filter((call) => call.label === label && call.kernelName !== "rms_norm")
      .map(({ constants }) => constants["SCALE"]);
  assertEquals([scaleOf("embed_tokens"), scaleOf("head")], [[12], [0.125]]);
});

Deno.test("biases are vectors beside the weights, those of ups after those of gates", () => {
  const { weights } = modelOf({ norms: {}, hasBiases: true });
  const biases = weights.filter(({ name }) => name.endsWith("_bias"));
  assertEquals(biases.map(({ tensors, shapes }) => [tensors.length, shapes.flat()]), [
    [3, [64, 32, 32]],
    [1, [32]],
    [2, [64, 64]],
    [1, [32]],
  ]);
  assertEquals(biases[2]!.tensors.map((name) => name.replace("model.layers.0.mlp.", "")), [
    ...["gate_proj.bias", "up_proj.bias"],
  ]);
  const products = graphOf(modelOf({ norms: {}, hasBiases: true }))
    .filter(({ kernelName, label }) => kernelName === "matmul" && label !== "head");
  assertEquals(products.map(({ constants }) => constants["HAS_BIAS"]), [true, true, true, true]);
});

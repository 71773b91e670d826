import { copyBlocksCall } from "../kernels/kv/copy_blocks.ts";
import { embedTokensCalls } from "../kernels/weights/embed_tokens.ts";
import { kvBlockWords, type KvShape } from "../kernels/kv/kv_cache.ts";
import { pagedAttentionCalls } from "../kernels/attention/paged_attention.ts";
import { normProductCalls, productCalls } from "../kernels/matmul/product.ts";
import { ropeStoreKvCall } from "../kernels/kv/rope_store_kv.ts";
import { samplingCalls } from "../kernels/sampling/sampling.ts";
import type { StepDims } from "../kernels/step.ts";
import { StartupError } from "../src/core/errors.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { ModelConfig } from "./model_config.ts";
import type { GraphInputs, ModelFamily, WeightSpec } from "./model_family.ts";

/**
 * The Llama decoder (Touvron 2023, 2302.13971; GQA from 2307.09288), as its checkpoints name it.
 *
 *     hidden = embed(tokens)
 *     per layer:  hidden += o(attention(rope(qkv(norm(hidden)))))
 *                 hidden += down(silu(gate(norm(hidden))) * up(norm(hidden)))
 *     logits = head(norm(hidden)), on the rows that are drawn from
 *
 * Qwen3 (2505.09388) is the same with an RMSNorm on each head's queries and keys before `rope`.
 */
export const llama: ModelFamily = { weights: llamaWeights, graph: llamaGraph };

function llamaWeights(config: ModelConfig): WeightSpec[] {
  checkShape(config);
  const { hiddenSize: e, numLayers, vocabSize, tieWordEmbeddings } = config;
  return [
    { name: "embed", tensors: ["model.embed_tokens.weight"], shapes: [[vocabSize, e]] },
    ...Array.from({ length: numLayers }, (_, layer) => layerWeights(config, layer)).flat(),
    { name: "norm", tensors: ["model.norm.weight"], shapes: [[e]] },
    ...tieWordEmbeddings
      ? []
      : [{ name: "head", tensors: ["lm_head.weight"], shapes: [[vocabSize, e]] }],
  ];
}

/** Options of a config.json that these kernels lack, refused by name. */
function checkShape(config: ModelConfig): void {
  if (config.attentionBias || config.mlpBias) {
    const field = config.attentionBias ? "attention_bias" : "mlp_bias";
    throw new StartupError(`config.json: ${field} is true, but biases are not supported`);
  }
  for (const field of ["hiddenSize", "headDim", "intermediateSize"] as const) {
    if (config[field] % 4 === 0) continue;
    throw new StartupError(
      `config.json: ${field} is ${config[field]}, but must be a multiple of 4`,
    );
  }
}

function layerWeights(config: ModelConfig, layer: number): WeightSpec[] {
  const { hiddenSize: e, numHeads, numKvHeads, headDim, intermediateSize: inner } = config;
  const queries = numHeads * headDim;
  const keys = numKvHeads * headDim;
  const spec = (name: string, stacked: readonly (readonly [string, readonly number[]])[]) => ({
    name: `${layer}.${name}`,
    tensors: stacked.map(([tensor]) => `model.layers.${layer}.${tensor}.weight`),
    shapes: stacked.map(([, shape]) => shape),
  });
  return [
    spec("attention_norm", [["input_layernorm", [e]]]),
    spec("qkv", [
      ["self_attn.q_proj", [queries, e]],
      ["self_attn.k_proj", [keys, e]],
      ["self_attn.v_proj", [keys, e]],
    ]),
    ...config.normalizesHeads
      ? [spec("head_norms", [
        ["self_attn.q_norm", [headDim]],
        ["self_attn.k_norm", [headDim]],
      ])]
      : [],
    spec("o", [["self_attn.o_proj", [e, queries]]]),
    spec("mlp_norm", [["post_attention_layernorm", [e]]]),
    {
      ...spec("gate_up", [["mlp.gate_proj", [inner, e]], ["mlp.up_proj", [inner, e]]]),
      isPaired: true,
    },
    spec("down", [["mlp.down_proj", [e, inner]]]),
  ];
}

function llamaGraph(inputs: GraphInputs): KernelCall<StepDims>[] {
  const { config, activations: a, tuning, weight } = inputs;
  const { hiddenSize: E, vocabSize: V, rmsNormEps: eps, numLayers } = config;
  const embed = weight("embed");
  const head = config.tieWordEmbeddings ? embed : weight("head");
  return [
    ...inputs.kv.map((kv, layer) =>
      copyBlocksCall({ WORDS: kvBlockWords(kvShape(inputs, layer)) }, { step: a.step, kv })
    ),
    ...embedTokensCalls(
      { V, E, dtype: embed.dtype },
      { step: a.step, w: embed.shards, out: a.hidden },
    ),
    ...Array.from({ length: numLayers }, (_, layer) => [
      ...attentionCalls(inputs, layer),
      ...feedForwardCalls(inputs, layer),
    ]).flat(),
    ...normProductCalls(
      { label: "head", rows: "samples", n: V, k: E, dtype: head.dtype, eps },
      { ...normed(inputs, "norm", a.last), w: head.shards, y: a.logits },
      tuning,
    ),
    ...samplingCalls(
      V,
      { step: a.step, logits: a.logits, segments: a.segments, sampled: a.sampled },
      tuning,
    ),
  ];
}

function kvShape({ config, blockSize, kvDtypes }: GraphInputs, layer: number): KvShape {
  const { numKvHeads: G, headDim: D } = config;
  return { G, D, BLOCK_SIZE: blockSize, KV_DTYPE: kvDtypes[layer]! };
}

function attentionCalls(inputs: GraphInputs, layer: number): KernelCall<StepDims>[] {
  const { config, activations: a, tuning, weight } = inputs;
  const { hiddenSize: E, numHeads: H, numKvHeads: G, headDim: D, rmsNormEps: eps } = config;
  const { step, rope, qkv, partials, stats, codes, scales } = a;
  const kv = inputs.kv[layer]!;
  const [project, output] = [weight(`${layer}.qkv`), weight(`${layer}.o`)];
  const norms = config.normalizesHeads ? vector(inputs, `${layer}.head_norms`) : undefined;
  const shape = { H, ...kvShape(inputs, layer) };
  return [
    ...normProductCalls(
      { label: "qkv", rows: "tokens", n: (H + 2 * G) * D, k: E, dtype: project.dtype, eps },
      { ...normed(inputs, `${layer}.attention_norm`), w: project.shards, y: qkv },
      tuning,
    ),
    ropeStoreKvCall(
      norms === undefined ? shape : { ...shape, NORM_EPS: eps },
      { step, rope, qkv, kv, norms },
    ),
    ...pagedAttentionCalls(
      shape,
      { step, qkv, kv, partials, stats, out: a.attended },
      tuning,
    ),
    ...productCalls(
      { label: "o", rows: "tokens", n: E, k: H * D, dtype: output.dtype, epilogue: "add" },
      { step, x: a.attended, codes, scales, w: output.shards, y: a.hidden },
      tuning,
    ),
  ];
}

function feedForwardCalls(inputs: GraphInputs, layer: number): KernelCall<StepDims>[] {
  const { config, activations: a, tuning, weight } = inputs;
  const { hiddenSize: E, intermediateSize: I, rmsNormEps: eps } = config;
  const { step, codes, scales } = a;
  const [gateUp, down] = [weight(`${layer}.gate_up`), weight(`${layer}.down`)];
  return [
    ...normProductCalls(
      { label: "gate_up", rows: "tokens", n: I, k: E, dtype: gateUp.dtype, epilogue: "silu", eps },
      { ...normed(inputs, `${layer}.mlp_norm`), w: gateUp.shards, y: a.inner },
      tuning,
    ),
    ...productCalls(
      { label: "down", rows: "tokens", n: E, k: I, dtype: down.dtype, epilogue: "add" },
      { step, x: a.inner, codes, scales, w: down.shards, y: a.hidden },
      tuning,
    ),
  ];
}

/** Vectors are never cut. */
function vector({ weight }: GraphInputs, name: string): DeviceBuffer {
  return weight(name).shards[0]!.buffer;
}

/** The residual stream on its way through a norm; `into` holds the rows where that is not fused. */
function normed(inputs: GraphInputs, name: string, into = inputs.activations.normed) {
  const { step, hidden: x, codes, scales } = inputs.activations;
  return { step, x, codes, scales, norm: vector(inputs, name), normed: into };
}

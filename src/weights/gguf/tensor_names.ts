import { StartupError } from "../../core/errors.ts";
import { type Architecture, ArchitectureKeys, architectureOf } from "./architectures.ts";
import type { GgufFile, LocatedTensor } from "./gguf_file.ts";

/** A tensor of a checkpoint as a view of one in the file. */
export interface TensorView {
  readonly tensor: LocatedTensor;
  /** Rows of a head whose pairs of rows are neighbours in the file; absent for other tensors. */
  readonly pairedRows?: number;
  /** Added to each element; absent for 0. */
  readonly addend?: number;
}

/** Names outside the layers. */
const NAMES: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

/** Names of a layer's tensors, without `.weight` or `.bias`. */
const LAYER_NAMES: Readonly<Record<string, string>> = {
  "attn_norm": "input_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_qkv": "self_attn.qkv_proj",
  "attn_q_norm": "self_attn.q_norm",
  "attn_k_norm": "self_attn.k_norm",
  "attn_output": "self_attn.o_proj",
  "attn_sinks": "self_attn.sinks",
  "ffn_norm": "post_attention_layernorm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
  "ffn_gate_inp": "mlp.gate",
};

/** Tensors of all experts of a layer, a matrix or a bias of each, and the name of one expert's. */
const EXPERT_NAMES: Readonly<Record<string, string>> = {
  "ffn_gate_exps": "gate_proj",
  "ffn_up_exps": "up_proj",
  "ffn_down_exps": "down_proj",
};

const MAX_EXPERTS = 1024;

/** Tensors that the config is made from. */
const CONFIG_TENSORS = /^rope_(freqs|factors_long|factors_short)\.weight$/;
const LAYER_TENSOR = /^blk\.(\d+)\.(.+)\.(weight|bias)$/;

/**
 * The tensors of a checkpoint by name, in the file's order. Tensors whose names are not known keep
 * them.
 *
 * @throws {StartupError} for an architecture that is not known, and for rows that are no heads.
 */
export function checkpointTensors(gguf: GgufFile): Map<string, TensorView> {
  const { name, architecture } = architectureOf(gguf.metadata);
  const keys = new ArchitectureKeys(gguf.metadata, name);
  const views = new Map<string, TensorView>();
  for (const tensor of gguf.tensors.values()) {
    if (CONFIG_TENSORS.test(tensor.name)) continue;
    for (const [name, view] of viewsOf(tensor, architecture, keys)) views.set(name, view);
  }
  return views;
}

function viewsOf(
  tensor: LocatedTensor,
  architecture: Architecture,
  keys: ArchitectureKeys,
): [name: string, view: TensorView][] {
  const [, layer, part, kind] = LAYER_TENSOR.exec(tensor.name) ?? [];
  const addend = architecture.addsOneToNorms && /norm\.weight$/.test(tensor.name)
    ? { addend: -1 }
    : {};
  if (part === undefined) {
    const name = Object.hasOwn(NAMES, tensor.name) ? NAMES[tensor.name]! : tensor.name;
    return [[name, { tensor, ...addend }]];
  }
  const expert = Object.hasOwn(EXPERT_NAMES, part) ? EXPERT_NAMES[part] : undefined;
  if (expert !== undefined && tensor.shape.length === (kind === "bias" ? 2 : 3)) {
    return experts(tensor).map((slice, i) => [
      `model.layers.${layer}.mlp.experts.${i}.${expert}.${kind}`,
      { tensor: slice },
    ]);
  }
  const names = { ...LAYER_NAMES, ...architecture.names };
  const known = Object.hasOwn(names, part) ? names[part] : undefined;
  const suffix = part === "attn_sinks" ? "" : `.${kind}`;
  const name = known === undefined ? tensor.name : `model.layers.${layer}.${known}${suffix}`;
  const heads = part === "attn_q" ? "attention.head_count" : "attention.head_count_kv";
  const pairs = architecture.pairsRows && (part === "attn_q" || part === "attn_k")
    ? { pairedRows: headRows(tensor, keys.count(heads) ?? keys.count("attention.head_count") ?? 0) }
    : {};
  return [[name, { tensor, ...addend, ...pairs }]];
}

/** Rows of one head. */
function headRows({ name, shape, type, file }: LocatedTensor, numHeads: number): number {
  const rows = shape[0]! / numHeads;
  // A vector in blocks has no rows that could change places.
  const hasRows = shape.length > 1 || type.blockSize === 1;
  if (hasRows && Number.isInteger(rows) && rows % 2 === 0) return rows;
  throw new StartupError(
    `${file.path}: tensor ${JSON.stringify(name)} has ${shape[0]} rows of ${type.name} in ` +
      `${numHeads} heads: a head must have an even number`,
  );
}

/** One matrix or bias per expert, each a part of the tensor. */
function experts(tensor: LocatedTensor): LocatedTensor[] {
  const [count, ...shape] = tensor.shape;
  if (count! > MAX_EXPERTS) {
    throw new StartupError(
      `${tensor.file.path}: tensor ${JSON.stringify(tensor.name)} has ${count} experts, over the ` +
        `limit of ${MAX_EXPERTS}`,
    );
  }
  const bytes = tensor.bytes / count!;
  const numElements = tensor.numElements / count!;
  return Array.from(
    { length: count! },
    (_, i) => ({ ...tensor, shape, numElements, bytes, begin: tensor.begin + i * bytes }),
  );
}

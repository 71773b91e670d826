import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { CacheSpec } from "../src/core/cache_group.ts";
import type { LayerKv } from "../kernels/kv/kv_cache.ts";
import type { PoolDims } from "../kernels/norm/pool_rows.ts";
import type { StepDims } from "../kernels/step.ts";
import type { Tuning } from "../kernels/tuning/tuning.ts";
import type { WeightDtype } from "../kernels/weights/weight_dtype.ts";
import type { WeightShard } from "../kernels/weights/weight_shards.ts";
import type { RopeTableSpec } from "./rope_table.ts";

/** A vector or matrix of weights, and the checkpoint's tensors it is stacked from, row by row. */
export interface WeightSpec {
  /** The name the forward graph uses. */
  readonly name: string;
  /** Their names in the checkpoint, in order of stacking. */
  readonly tensors: readonly string[];
  /** Shape of each of them, as it is read. */
  readonly shapes: readonly (readonly number[])[];
  /** Whether it is a vector, whatever its tensors' shapes; others are by theirs. */
  readonly isVector?: boolean;
  /** Whether each matrix of its tensors lies transposed in the checkpoint: [.., K, N]. */
  readonly isTransposed?: boolean;
  /**
   * Whether row i of the stack's first half and row i of its second give one output, as gates and
   * ups do, be they two tensors or one: where the matrix is cut, they stay together.
   */
  readonly isGateUp?: boolean;
  /**
   * How many matrices of one shape lie below each other, as those of experts do: where the whole is
   * cut, each of them stays together.
   */
  readonly numMatrices?: number;
  /**
   * Whether the matrix keeps the checkpoint's type whatever is asked for, as a router does: a small
   * error in its logits is another expert.
   */
  readonly keepsType?: boolean;
  /** Whether it has a row per token of the vocabulary: an embedding, or the output's matrix. */
  readonly isVocabulary?: boolean;
  /** Added to each element of a vector when it is loaded: 1 where the checkpoint has `w - 1`. */
  readonly addend?: number;
}

/**
 * A weight on the device. Vectors are f32; matrices keep the checkpoint's type or are quantized.
 */
export interface DeviceWeight {
  /** All of it; several where a matrix has more than one type, or no binding holds it whole. */
  readonly shards: readonly WeightShard[];
  readonly dtype: WeightDtype;
}

/** A buffer that a step's activations pass through. */
export interface BufferSpec {
  /** What it grows with: the rows of a step, or its draws. */
  readonly per: "token" | "draw";
  /** Words of 4 bytes for each of them. */
  readonly words: number;
}

/** Buffers by the names that the forward graph uses. */
export type BufferSpecs = Readonly<Record<string, BufferSpec>>;

/** The heads of one layer's attention. */
export interface AttentionHeads {
  /** Query heads; a multiple of `numKvHeads`. */
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** Elements of one head's query, key and value. */
  readonly headDim: number;
}

/**
 * The buffers of a step: the runner's own, and those that the model declares. T rows, R draws
 * (`kernels/step.ts`).
 */
export interface Activations {
  /** u32, packed step metadata. */
  readonly step: DeviceBuffer;
  /** i8 [T, K] and f32 [T, K / 32], K the widest product: rows quantized for one product. */
  readonly codes: DeviceBuffer;
  readonly scales: DeviceBuffer;
  /** f32 of each decode [H, M, D] and [H, M, 2], its own M: split attention. */
  readonly partials: DeviceBuffer;
  readonly stats: DeviceBuffer;
  /** f32 [R, V]: what the graph computes. */
  readonly logits: DeviceBuffer;
  /** u32 [R, SEGMENT_PLANES, Z], what sampling knows of the segments of each row. */
  readonly segments: DeviceBuffer;
  /** u32 [R, SAMPLED_WORDS]. */
  readonly sampled: DeviceBuffer;
  /** The model's buffers and position tables by name. */
  readonly declared: Readonly<Record<string, DeviceBuffer>>;
}

/** The inputs of a forward graph. */
export interface GraphInputs {
  readonly weight: (name: string) => DeviceWeight;
  readonly activations: Activations;
  /** How many of the model's first layers are computed: all of them, except to time a few. */
  readonly numLayers: number;
  /**
   * Where each layer's KV lies, how, and what of it a query reads, first to last; `undefined` for a
   * layer that keeps none of its own.
   */
  readonly kv: readonly (LayerKv | undefined)[];
  readonly tuning: Tuning;
}

/** What else is read from the hidden states of a step, after `graph`, in this order. */
export interface HiddenReadouts {
  /** Logits of the rows whose tokens are scored, in the place of those that were drawn from. */
  readonly logits: (inputs: GraphInputs) => KernelCall<StepDims>[];
  /**
   * Adds the step's runs of rows, each after the final norm, to the rows of the buffer `last`: f32
   * [P, E]. The norm overwrites the hidden states, so that nothing can be read afterwards.
   */
  readonly poolings: (inputs: GraphInputs) => KernelCall<PoolDims>[];
}

/**
 * A model of some family: all that planner, runner and benches know of it, as data, and its forward
 * pass. Frozen; the runner allocates what it declares.
 */
export interface Model {
  /** `model_type` of config.json. */
  readonly modelType: string;
  readonly vocabSize: number;
  /**
   * Whether it is the text model of a checkpoint of several modalities, whose tensors have other
   * names there (`src/weights/text_part.ts`).
   */
  readonly isTextPart?: boolean;
  /** Longest context the model is made for, tokens. */
  readonly maxPositionEmbeddings: number;
  /**
   * Most tokens of a sequence that reads the rows of position tables for short contexts; absent
   * where rows do not depend on how long a sequence is.
   */
  readonly shortContextLen?: number;
  /**
   * What each layer keeps of earlier positions, first to last; `undefined` for a layer that keeps
   * nothing of its own.
   */
  readonly caches: readonly (CacheSpec | undefined)[];
  /** The heads of each layer's attention, first to last; `undefined` for a layer without. */
  readonly attention: readonly (AttentionHeads | undefined)[];
  /** In the order in which they are loaded. */
  readonly weights: readonly WeightSpec[];
  readonly buffers: BufferSpecs;
  /** Tables with a row per position, by name; no buffer has the same one. */
  readonly positionTables: Readonly<Record<string, RopeTableSpec>>;
  /** Tensors that checkpoints may carry and the model does not use. */
  readonly ignoredTensors: readonly string[];
  /** The fields of config.json that are ignored, one sentence each. */
  readonly warnings: readonly string[];
  /** Elements of a hidden state. */
  readonly hiddenSize: number;
  /** Logits of the rows that are drawn from, as a list of kernel calls. */
  readonly graph: (inputs: GraphInputs) => KernelCall<StepDims>[];
  /** Scores and sums of a step's hidden states, before the next step overwrites them. */
  readonly readouts: HiddenReadouts;
}

/**
 * Reads the parsed content of a config.json of one `model_type`.
 *
 * @param file what error messages call it.
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export type ModelFamily = (json: unknown, file: string) => Model;

import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { KvCacheDtype } from "../src/core/engine_config.ts";
import type { StepDims } from "../kernels/step.ts";
import type { Tuning } from "../kernels/tuning/tuning.ts";
import type { WeightDtype } from "../kernels/weights/weight_dtype.ts";
import type { WeightPart } from "../kernels/weights/weight_parts.ts";
import type { ModelConfig } from "./model_config.ts";

/** A vector or matrix of weights, and the checkpoint's tensors it is stacked from, row by row. */
export interface WeightSpec {
  /** The name the forward graph uses. */
  readonly name: string;
  /** Names in the checkpoint, in order of stacking. */
  readonly tensors: readonly string[];
  /** Shape of each of them. */
  readonly shapes: readonly (readonly number[])[];
  /**
   * Whether row i of one tensor and row i of the others give one output, as gates and ups do: where
   * a matrix is cut, they stay together. All have as many rows.
   */
  readonly isPaired?: boolean;
}

/**
 * A weight on the device. Vectors are f32; matrices keep the checkpoint's type or are quantized.
 */
export interface DeviceWeight {
  /** All of it; more than one for a matrix that the device cannot bind whole. */
  readonly parts: readonly WeightPart[];
  readonly dtype: WeightDtype;
}

/** Buffers that one step's activations pass through; T rows, R draws (`kernels/step.ts`). */
export interface Activations {
  /** u32, packed step metadata. */
  readonly step: DeviceBuffer;
  /** f32 [P, D/2, 2], cosines and sines. */
  readonly rope: DeviceBuffer;
  /** f32 [T, E], the residual stream. */
  readonly hidden: DeviceBuffer;
  /** f32 [T, E], normalized rows. */
  readonly normed: DeviceBuffer;
  /** i8 [T, max(E, H D, I)] and f32 [T, max(E, H D, I) / 32]: rows quantized for one product. */
  readonly codes: DeviceBuffer;
  readonly scales: DeviceBuffer;
  /** f32 [T, H + 2G, D]. */
  readonly qkv: DeviceBuffer;
  /** f32 [T, H, D]. */
  readonly attended: DeviceBuffer;
  /** f32 [T, I], inner feed-forward activations. */
  readonly inner: DeviceBuffer;
  /** f32 of each decode [H, M, D] and [H, M, 2], its own M: split attention. */
  readonly partials: DeviceBuffer;
  readonly stats: DeviceBuffer;
  /** f32 [R, E], normalized rows that are drawn from. */
  readonly last: DeviceBuffer;
  /** f32 [R, V]. */
  readonly logits: DeviceBuffer;
  /** u32 [R, PARTS_PLANES, M], what sampling knows of the segments of each row. */
  readonly segments: DeviceBuffer;
  /** u32 [R, SAMPLED_WORDS]. */
  readonly sampled: DeviceBuffer;
}

/** What a forward graph is built from. */
export interface GraphInputs {
  readonly config: ModelConfig;
  readonly weight: (name: string) => DeviceWeight;
  readonly activations: Activations;
  /** One KV buffer per layer. */
  readonly kv: readonly DeviceBuffer[];
  readonly blockSize: number;
  /** Element type of each of them. */
  readonly kvDtypes: readonly KvCacheDtype[];
  readonly tuning: Tuning;
}

/** A model architecture: which weights it reads, and its forward pass as a list of kernel calls. */
export interface ModelFamily {
  weights(config: ModelConfig): WeightSpec[];
  graph(inputs: GraphInputs): KernelCall<StepDims>[];
}

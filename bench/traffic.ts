import type { StepDims } from "../kernels/step.ts";
import type { Model } from "../models/model.ts";
import type { KvCacheDtype } from "../src/core/engine_config.ts";
import { layerBytesPerToken } from "../src/core/kv_layout.ts";
import { firstRead, type ReadSpan, readSpan } from "../src/core/read_span.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { UploadedWeights } from "../src/runner/upload_weights.ts";
import { weightBytes, weightShape } from "../src/runner/weight_buffers.ts";
import type { StepShape } from "./model_rig.ts";

/** What an operation moves and computes at the least, whatever its kernel does. */
export interface Traffic {
  /** Bytes read of weights and KV; activations stay in caches and do not count. */
  readonly bytes: number;
  /** Multiplications and additions, each counted. */
  readonly flops: number;
}

/** Numbers in the matrix, or the part of one, that a buffer holds. */
export type Elements = ReadonlyMap<DeviceBuffer, number>;

/** How many numbers each buffer of a model's matrices has; vectors are small. */
export function weightElements(model: Model, weights: UploadedWeights): Elements {
  return new Map(
    model.weights.filter(({ shapes }) => shapes[0]!.length > 1).flatMap((spec) => {
      const { rowsPerOutput, columns } = weightShape(spec);
      return weights.weight(spec.name).shards.map(({ buffer, begin, end }) =>
        [buffer, (end - begin) * rowsPerOutput * columns] as const
      );
    }),
  );
}

/** One layer's attention, as far as its traffic goes. */
interface AttentionTraffic {
  /** Elements of all queries of a position. */
  readonly queries: number;
  /** Of its keys and values. */
  readonly bytesPerToken: number;
  readonly span: ReadSpan;
}

/** What a layer's attention reads of the step's contexts, and computes for its queries. */
function attentionTraffic(
  { queries, bytesPerToken, span }: AttentionTraffic,
  { batch, count, context }: StepShape,
): Traffic {
  // Rows at positions [context - count, context), each attending to itself and what it reads before.
  const read = (first: number, position: number) =>
    position + 1 - first + Math.min(span.numSinkTokens, first);
  let pairs = 0;
  for (let position = context - count; position < context; position++) {
    pairs += read(firstRead(span, position), position);
  }
  const positions = read(firstRead(span, context - count), context - 1);
  return { bytes: batch * positions * bytesPerToken, flops: 4 * queries * batch * pairs };
}

/** What one call of a step's graph moves and computes; undefined for glue that does neither. */
export function callTraffic(
  call: KernelCall<StepDims>,
  { elements, step, dims }: {
    elements: Elements;
    step: StepShape;
    dims: StepDims;
  },
): Traffic | undefined {
  const readsKv = call.bindings.some(({ name, access }) => name === "kv" && access === "read");
  if (readsKv) return attentionTraffic(attentionOf(call.constants as AttentionConstants), step);
  // The embedding is read a few rows at a time.
  const matrices = call.buffers.filter((buffer) => elements.has(buffer));
  if (matrices.length === 0 || call.kernelName.startsWith("embed")) return undefined;
  const rows = call.label === "head" ? dims.numDraws : dims.numTokens;
  return {
    bytes: matrices.reduce((sum, { bytes }) => sum + bytes, 0),
    flops: matrices.reduce((sum, buffer) => sum + 2 * rows * elements.get(buffer)!, 0),
  };
}

/** The constants of every call of attention. */
type AttentionConstants = Readonly<
  & Record<"H" | "G" | "D" | "WINDOW" | "NUM_SINKS", number>
  & { KV_DTYPE: KvCacheDtype; IS_CHUNKED: boolean }
>;

function attentionOf(constants: AttentionConstants): AttentionTraffic {
  const { H, G: numKvHeads, D: headDim, KV_DTYPE: dtype } = constants;
  const { WINDOW: window, IS_CHUNKED: isChunked, NUM_SINKS: numSinkTokens } = constants;
  return {
    queries: H * headDim,
    bytesPerToken: layerBytesPerToken({ numKvHeads, headDim, dtype }),
    span: { window, isChunked, numSinkTokens },
  };
}

/** What all layers of a model that attend to KV of their own move and compute, with KV in f16. */
function allAttention({ attention, caches }: Model, step: StepShape): Traffic {
  const total = { bytes: 0, flops: 0 };
  for (const [layer, heads] of attention.entries()) {
    const cache = caches[layer];
    if (heads === undefined || cache === undefined) continue;
    const bytesPerToken = layerBytesPerToken({ ...heads, dtype: "f16" });
    const queries = heads.numHeads * heads.headDim;
    const { bytes, flops } = attentionTraffic(
      { queries, bytesPerToken, span: readSpan(cache) },
      step,
    );
    total.bytes += bytes;
    total.flops += flops;
  }
  return total;
}

/** What a whole step moves and computes. */
export function stepTraffic(
  model: Model,
  weights: UploadedWeights,
  elements: Elements,
  step: StepShape,
): Traffic {
  const embed = weights.weight("embed");
  const isTied = !model.weights.some(({ name }) => name === "head");
  const all = [...elements.values()].reduce((a, b) => a + b, 0);
  const head = embed.shards.reduce((sum, { buffer }) => sum + elements.get(buffer)!, 0);
  const inLayers = all - head * (isTied ? 1 : 2);
  const rows = step.batch * step.count;
  const { bytes, flops } = allAttention(model, step);
  return {
    bytes: weights.bytes - (isTied ? 0 : weightBytes(embed)) + bytes,
    flops: 2 * rows * inLayers + 2 * step.batch * head + flops,
  };
}

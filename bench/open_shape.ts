import type { Model } from "../models/model.ts";
import type { Device } from "../src/device/device.ts";
import {
  isBlocks,
  matrixBytes,
  QUANT_BLOCK_SIZE,
  type WeightDtype,
} from "../src/core/weight_format.ts";
import type { UploadedWeights } from "../src/runner/upload_weights.ts";
import { weightShape } from "../src/runner/weight_buffers.ts";
import { kvBytes, rigPool, type StepShape } from "./model_rig.ts";
import { randomWeights } from "./random_weights.ts";
import { type BenchShape, findShape, shapeModel } from "./shapes.ts";

/** A model of random weights on a device. */
export interface OpenShape {
  readonly name: string;
  readonly note: string | undefined;
  readonly model: Model;
  readonly weights: UploadedWeights;
  /** Bytes on the device, and how many numbers these are. */
  readonly size: { readonly weightBytes: number; readonly numParameters: number };
  /** Frees the weights. */
  readonly close: () => void;
}

/** A shape that is not measured, and why. */
export interface SkippedShape {
  readonly name: string;
  readonly note: string | undefined;
  readonly skipped: string;
}

/** Of a software adapter's memory, which is the host's, benches take no more than this share. */
const HOST_SHARE = 0.6;

/**
 * Makes the weights of a known shape on the device, in f16 unless `dtype` says, or tells by the numbers why
 * they do not fit.
 */
export function openShape(
  device: Device,
  name: string,
  dtype?: WeightDtype,
): Promise<OpenShape | SkippedShape> {
  return openModel(device, findShape(name), dtype);
}

/** The same for any shape. */
export async function openModel(
  device: Device,
  shape: BenchShape,
  dtype: WeightDtype = "f16",
): Promise<OpenShape | SkippedShape> {
  const { name, note } = shape;
  const model = shapeModel(shape);
  const problem = brokenBlocks(model, dtype) ??
    lackOfRoom(device, plannedBytes(model, dtype), "its weights");
  if (problem !== undefined) return { name, note, skipped: problem };
  try {
    const weights = await randomWeights(device, model, dtype);
    const close = () => {
      for (const spec of model.weights) {
        for (const { buffer } of weights.weight(spec.name).shards) device.destroyBuffer(buffer);
      }
    };
    const size = { weightBytes: weights.bytes, numParameters: weights.numParameters };
    return { name, note, model, weights, size, close };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { name, note, skipped: error.message };
  }
}

/** Says that a row is no whole number of blocks, in formats that have such. */
function brokenBlocks({ weights }: Model, dtype: WeightDtype): string | undefined {
  if (!isBlocks(dtype)) return undefined;
  const columns = weights.filter(({ shapes }) => shapes[0]!.length > 1)
    .map((spec) => weightShape(spec).columns)
    .find((columns) => columns % QUANT_BLOCK_SIZE !== 0);
  return columns === undefined
    ? undefined
    : `rows of ${columns} weights are no whole blocks of ${QUANT_BLOCK_SIZE} in ${dtype}`;
}

/** Why a step of this shape cannot be measured, with the numbers; undefined when it seems it can. */
export function findRoom(
  device: Device,
  { model }: OpenShape,
  step: StepShape,
): string | undefined {
  const what = `batch ${step.batch} at context ${step.context}`;
  if (step.context > model.maxPositionEmbeddings) {
    return `${what}: the model ends at ${model.maxPositionEmbeddings} tokens`;
  }
  const { layout, numSlabs } = rigPool(model, step);
  const bufferBytes = numSlabs * Math.max(...layout.slabBytes);
  if (bufferBytes > device.maxBindingBytes) {
    return `${what}: one buffer of KV takes ${inMiB(bufferBytes)}, and ` +
      `${inMiB(device.maxBindingBytes)} can be bound`;
  }
  return lackOfRoom(device, kvBytes(model, step), `KV for ${what}`);
}

function lackOfRoom(device: Device, bytes: number, what: string): string | undefined {
  if (!device.isSoftware) return undefined;
  const room = HOST_SHARE * Deno.systemMemoryInfo().available;
  if (bytes <= room) return undefined;
  return `${what}: ${inMiB(bytes)}, and this host has ${inMiB(room)} to give`;
}

function inMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** Bytes of all matrices; vectors are small. */
function plannedBytes(model: Model, dtype: WeightDtype): number {
  return model.weights.map(weightShape).reduce(
    (sum, { numOutputs, rowsPerOutput, columns }) =>
      sum + matrixBytes(dtype, numOutputs * rowsPerOutput, columns),
    0,
  );
}

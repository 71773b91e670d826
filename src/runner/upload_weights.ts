import type { DeviceWeight, WeightSpec } from "../../models/model.ts";
import { invariant } from "../base/invariant.ts";
import { StartupError } from "../core/errors.ts";
import { isQuantized, type Quantization, type WeightDtype } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import { decodeToF32 } from "../weights/dtypes.ts";
import { transposed } from "../weights/transposed.ts";
import { readFinite } from "../weights/read_finite.ts";
import type { Checkpoint, TensorInfo } from "../weights/checkpoint.ts";
import { deviceTypes } from "./device_dtypes.ts";
import { asTextures } from "./weight_textures.ts";
import { byteRange, rowsOfShard, type TensorRows } from "./tensor_rows.ts";
import { uploadQuantized } from "./upload_quantized.ts";
import type { UploadTarget } from "./upload_target.ts";
import { createWeight, isVector, weightBytes } from "./weight_buffers.ts";

/** Most bytes held on the host at a time. */
const CHUNK_BYTES = 16 * 2 ** 20;

/** The model's weights on the device. */
export interface UploadedWeights {
  readonly weight: (name: string) => DeviceWeight;
  /** Bytes on the device. */
  readonly bytes: number;
  readonly numParameters: number;
}

/** How weights are loaded. */
export interface UploadOptions {
  /** Without it, matrices keep the checkpoint's type; those in blocks get the nearest format. */
  readonly quantization?: Quantization;
  /** Called with the share of the checkpoint's bytes that is uploaded, in (0, 1]. */
  readonly onProgress?: (share: number) => void;
  /** Said where they do not fit: what would. */
  readonly hint?: string;
}

/** A weight, and the tensors that it is stacked from, as they are read. */
export interface WeightSource {
  readonly spec: WeightSpec;
  readonly checkpoint: Checkpoint;
  readonly tensors: readonly TensorInfo[];
}

/**
 * Where a model's weights are in a checkpoint; no element is read.
 *
 * @throws {StartupError} for a tensor that is missing or of another shape.
 */
export function weightSources(
  checkpoint: Checkpoint,
  specs: readonly WeightSpec[],
): WeightSource[] {
  const turned = transposed(checkpoint);
  return specs.map((spec) => {
    const source = spec.isTransposed === true ? turned : checkpoint;
    return { spec, checkpoint: source, tensors: checkedTensors(source, spec) };
  });
}

/**
 * Copies a checkpoint's tensors to the device, stacked as the model's specs say.
 *
 * Matrices keep their type, or are quantized piece by piece; vectors, and matrices stacked from
 * several types of plain numbers, become f32; those in several kinds of blocks stay apart. A matrix
 * that the device cannot bind whole is cut into several buffers.
 *
 * @throws {StartupError} for a tensor that is missing, of another shape, without room on the
 * device, with a weight that is not a finite number, or whose weights cannot be quantized.
 */
export async function uploadWeights(
  device: Device,
  checkpoint: Checkpoint,
  specs: readonly WeightSpec[],
  { quantization, onProgress = () => {}, hint = "" }: UploadOptions = {},
): Promise<UploadedWeights> {
  const sources = weightSources(checkpoint, specs);
  const total = sources.reduce((sum, { tensors }) => sum + bytesOf(tensors), 0);
  const weights = new Map<string, DeviceWeight>();
  let done = 0;
  let bytes = 0;
  let numParameters = 0;
  for (const { spec, checkpoint, tensors } of sources) {
    const { dtype, parts } = deviceTypes(spec, tensors, quantization);
    const weight = await createWeight(device, spec, dtype, parts)
      .catch((error) => refuse(error, hint));
    for (const { buffer, dtype = weight.dtype, ...range } of weight.shards) {
      const rows = rowsOfShard(tensors, range, spec);
      const target = { device, checkpoint, rows, buffer, onBytes };
      if (isQuantized(dtype)) uploadQuantized(target, dtype);
      else uploadPlain(target, { dtype, addend: spec.addend ?? 0 });
    }
    const held = await asTextures(device, spec, weight);
    weights.set(spec.name, held);
    bytes += weightBytes(held);
    numParameters += tensors.reduce((sum, { numElements }) => sum + numElements, 0);
  }
  return { weight: (name) => named(weights, name), bytes, numParameters };

  function onBytes(count: number): void {
    onProgress((done += count) / total);
  }
}

function named(weights: ReadonlyMap<string, DeviceWeight>, name: string): DeviceWeight {
  const found = weights.get(name);
  if (found === undefined) throw new TypeError(`the model has no weight "${name}"`);
  return found;
}

function checkedTensors(
  checkpoint: Checkpoint,
  spec: WeightSpec,
): TensorInfo[] {
  const { name, tensors, shapes, addend } = spec;
  invariant(addend === undefined || isVector(spec), `${name} is no vector to add to`);
  return tensors.map((name, i) => {
    const tensor = checkpoint.tensor(name);
    const shape = shapes[i]!;
    if (tensor.shape.join() === shape.join()) return tensor;
    throw new StartupError(
      `${checkpoint.fileOf(name)}: tensor "${name}" has shape [${
        tensor.shape.join(", ")
      }], but config.json asks for ` +
        `[${shape.join(", ")}]`,
    );
  });
}

function bytesOf(tensors: readonly TensorInfo[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** @throws {StartupError} where a device has no room for a weight. */
function refuse(error: unknown, hint: string): never {
  if (!(error instanceof RangeError)) throw error;
  throw new StartupError(`The weights do not fit on this device: ${error.message}${hint}`);
}

/** How elements are stored that are not quantized. */
interface PlainFormat {
  readonly dtype: WeightDtype;
  /** Added to each element; 0 unless the dtype is f32. */
  readonly addend: number;
}

function uploadPlain(target: UploadTarget, format: PlainFormat): void {
  let offset = 0;
  for (const rows of target.rows) offset = uploadRows(target, rows, { offset, ...format });
}

/** Returns the offset at which the next rows go. */
function uploadRows(
  { device, checkpoint, buffer, onBytes }: UploadTarget,
  rows: TensorRows,
  to: PlainFormat & { offset: number },
): number {
  const { tensor } = rows;
  const convert = tensor.dtype.toLowerCase() !== to.dtype || to.addend !== 0;
  const { begin, end } = byteRange(rows);
  let { offset } = to;
  for (let at = begin; at < end; at += CHUNK_BYTES) {
    const raw = new Uint8Array(Math.min(CHUNK_BYTES, end - at));
    readFinite(checkpoint, tensor, at, raw);
    const data = convert ? widen(raw, tensor, to.addend) : raw;
    device.write(buffer, offset, data);
    offset += data.byteLength;
    onBytes(raw.byteLength);
  }
  return offset;
}

function widen(
  raw: Uint8Array,
  { dtype, bytes, numElements }: TensorInfo,
  addend: number,
): Uint8Array {
  const values = new Float32Array(raw.byteLength / (bytes / numElements));
  decodeToF32(dtype, raw, values);
  if (addend !== 0) values.forEach((value, i) => values[i] = value + addend);
  return new Uint8Array(values.buffer);
}

import type { DeviceWeight, WeightSpec } from "../../models/model_family.ts";
import { StartupError } from "../core/errors.ts";
import {
  isQuantized,
  matrixBytes,
  type Quantization,
  quantizedDtype,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { decodeToF32 } from "../weights/dtypes.ts";
import type { TensorInfo, Weights } from "../weights/safetensors.ts";
import { inPanels } from "./in_panels.ts";
import { uploadQuantized } from "./upload_quantized.ts";

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
  /** Matrices keep the checkpoint's type without it. */
  readonly quantization?: Quantization;
  /** Is told the share of the checkpoint's bytes that is done, in (0, 1]. */
  readonly onProgress?: (share: number) => void;
}

/**
 * Copies a checkpoint's tensors to the device, stacked as the model's specs say.
 *
 * Matrices keep their type, or are quantized piece by piece; vectors, and matrices stacked from
 * several types, become f32.
 *
 * @throws {StartupError} for a tensor that is missing, of another shape, too large to bind, or whose
 * weights cannot be quantized.
 */
export async function uploadWeights(
  device: Device,
  checkpoint: Weights,
  specs: readonly WeightSpec[],
  { quantization, onProgress = () => {} }: UploadOptions = {},
): Promise<UploadedWeights> {
  const checked = specs.map((spec) => ({ spec, tensors: checkedTensors(checkpoint, spec) }));
  const total = checked.reduce((sum, { tensors }) => sum + bytesOf(tensors), 0);
  const weights = new Map<string, DeviceWeight>();
  let done = 0;
  let bytes = 0;
  let numParameters = 0;
  for (const { spec, tensors } of checked) {
    const dtype = deviceDtype(tensors, quantization);
    const [rows, columns] = stackedShape(tensors);
    const buffer = await createBuffer(device, spec.name, matrixBytes(dtype, rows, columns));
    const target = { device, checkpoint, tensors, buffer, onBytes };
    if (isQuantized(dtype)) uploadQuantized({ ...target, rows, columns }, quantization!);
    else uploadPlain(target, dtype);
    const held = spec.shapes[0]!.length < 2
      ? buffer
      : await inPanels(device, buffer, { dtype, rows, columns });
    weights.set(spec.name, { buffer: held, dtype });
    bytes += held.bytes;
    numParameters += rows * columns;
  }
  return { weight: (name) => named(weights, name), bytes, numParameters };

  function onBytes(count: number): void {
    onProgress((done += count) / total);
  }
}

/** Where the tensors of one buffer come from and go to. */
export interface UploadTarget {
  readonly device: Device;
  readonly checkpoint: Weights;
  readonly tensors: readonly TensorInfo[];
  readonly buffer: DeviceBuffer;
  /** Is told the bytes of the checkpoint that each piece has used up. */
  readonly onBytes: (count: number) => void;
}

function named(weights: ReadonlyMap<string, DeviceWeight>, name: string): DeviceWeight {
  const found = weights.get(name);
  if (found === undefined) throw new TypeError(`the model has no weight "${name}"`);
  return found;
}

function checkedTensors(checkpoint: Weights, { tensors, shapes }: WeightSpec): TensorInfo[] {
  return tensors.map((name, i) => {
    const tensor = checkpoint.tensor(name);
    const shape = shapes[i]!;
    if (tensor.shape.join() === shape.join()) return tensor;
    throw new StartupError(
      `Tensor "${name}" has shape [${tensor.shape.join(", ")}], but config.json asks for ` +
        `[${shape.join(", ")}]`,
    );
  });
}

function bytesOf(tensors: readonly TensorInfo[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Rows and columns of all tensors together; a vector is one row. */
function stackedShape(tensors: readonly TensorInfo[]): [rows: number, columns: number] {
  const columns = tensors[0]!.shape.at(-1)!;
  return [tensors.reduce((sum, tensor) => sum + tensor.numElements, 0) / columns, columns];
}

function deviceDtype(
  tensors: readonly TensorInfo[],
  quantization: Quantization | undefined,
): WeightDtype {
  const [first] = tensors;
  if (first!.shape.length < 2) return "f32";
  if (quantization !== undefined) return quantizedDtype(quantization);
  const alike = tensors.every(({ dtype }) => dtype === first!.dtype);
  return alike ? first!.dtype.toLowerCase() as WeightDtype : "f32";
}

async function createBuffer(device: Device, name: string, bytes: number): Promise<DeviceBuffer> {
  try {
    return await device.createBuffer(name, bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new StartupError(`The weights do not fit on this device: ${error.message}`);
  }
}

function uploadPlain(target: UploadTarget, dtype: WeightDtype): void {
  let offset = 0;
  for (const tensor of target.tensors) {
    uploadTensor(target, tensor, { offset, dtype });
    offset += matrixBytes(dtype, 1, tensor.numElements);
  }
}

function uploadTensor(
  { device, checkpoint, buffer, onBytes }: UploadTarget,
  tensor: TensorInfo,
  to: { offset: number; dtype: WeightDtype },
): void {
  const elementBytes = tensor.bytes / tensor.numElements;
  const convert = tensor.dtype.toLowerCase() !== to.dtype;
  for (let begin = 0; begin < tensor.bytes; begin += CHUNK_BYTES) {
    const raw = new Uint8Array(Math.min(CHUNK_BYTES, tensor.bytes - begin));
    checkpoint.readRange(tensor.name, begin, raw);
    const data = convert ? widen(raw, tensor) : raw;
    device.write(buffer, to.offset + matrixBytes(to.dtype, 1, begin / elementBytes), data);
    onBytes(raw.byteLength);
  }
}

function widen(raw: Uint8Array, { dtype, bytes, numElements }: TensorInfo): Uint8Array {
  const values = new Float32Array(raw.byteLength / (bytes / numElements));
  decodeToF32(dtype, raw, values);
  return new Uint8Array(values.buffer);
}

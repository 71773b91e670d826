import { WEIGHT_BYTES, type WeightDtype } from "../../kernels/weight_dtype.ts";
import type { DeviceWeight, WeightSpec } from "../../models/model_family.ts";
import { StartupError } from "../core/errors.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { decodeToF32 } from "../weights/dtypes.ts";
import type { TensorInfo, Weights } from "../weights/safetensors.ts";

/** Most bytes held on the host at a time. */
const CHUNK_BYTES = 16 * 2 ** 20;

/** The model's weights on the device. */
export interface UploadedWeights {
  readonly weight: (name: string) => DeviceWeight;
  /** Bytes on the device. */
  readonly bytes: number;
  readonly numParameters: number;
}

/**
 * Copies a checkpoint's tensors to the device, stacked as the model's specs say.
 *
 * Matrices keep their type; vectors, and matrices stacked from several types, become f32.
 *
 * @throws {StartupError} for a tensor that is missing, of another shape, or too large to bind.
 */
export async function uploadWeights(
  device: Device,
  checkpoint: Weights,
  specs: readonly WeightSpec[],
): Promise<UploadedWeights> {
  const weights = new Map<string, DeviceWeight>();
  let bytes = 0;
  let numParameters = 0;
  for (const spec of specs) {
    const tensors = spec.tensors.map((name, i) => checkedTensor(checkpoint, name, spec.shapes[i]!));
    const dtype = deviceDtype(tensors);
    const numElements = tensors.reduce((sum, tensor) => sum + tensor.numElements, 0);
    const buffer = await createBuffer(device, spec.name, numElements * WEIGHT_BYTES[dtype]);
    let offset = 0;
    for (const tensor of tensors) {
      uploadTensor(device, checkpoint, tensor, { buffer, offset, dtype });
      offset += tensor.numElements * WEIGHT_BYTES[dtype];
    }
    weights.set(spec.name, { buffer, dtype });
    bytes += buffer.bytes;
    numParameters += numElements;
  }
  const weight = (name: string) => {
    const found = weights.get(name);
    if (found === undefined) throw new TypeError(`the model has no weight "${name}"`);
    return found;
  };
  return { weight, bytes, numParameters };
}

function checkedTensor(checkpoint: Weights, name: string, shape: readonly number[]): TensorInfo {
  const tensor = checkpoint.tensor(name);
  if (tensor.shape.join() !== shape.join()) {
    throw new StartupError(
      `Tensor "${name}" has shape [${tensor.shape.join(", ")}], but config.json asks for ` +
        `[${shape.join(", ")}]`,
    );
  }
  return tensor;
}

function deviceDtype(tensors: readonly TensorInfo[]): WeightDtype {
  const [first] = tensors;
  const alike = tensors.every(({ dtype }) => dtype === first!.dtype);
  if (!alike || first!.shape.length < 2) return "f32";
  return first!.dtype.toLowerCase() as WeightDtype;
}

async function createBuffer(device: Device, name: string, bytes: number): Promise<DeviceBuffer> {
  try {
    return await device.createBuffer(name, bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new StartupError(`The weights do not fit on this device: ${error.message}`);
  }
}

function uploadTensor(
  device: Device,
  checkpoint: Weights,
  tensor: TensorInfo,
  to: { buffer: DeviceBuffer; offset: number; dtype: WeightDtype },
): void {
  const elementBytes = tensor.bytes / tensor.numElements;
  const convert = tensor.dtype.toLowerCase() !== to.dtype;
  for (let begin = 0; begin < tensor.bytes; begin += CHUNK_BYTES) {
    const raw = new Uint8Array(Math.min(CHUNK_BYTES, tensor.bytes - begin));
    checkpoint.readRange(tensor.name, begin, raw);
    const element = begin / elementBytes;
    const data = convert ? widen(raw, tensor) : raw;
    device.write(to.buffer, to.offset + element * WEIGHT_BYTES[to.dtype], data);
  }
}

function widen(raw: Uint8Array, { dtype, bytes, numElements }: TensorInfo): Uint8Array {
  const values = new Float32Array(raw.byteLength / (bytes / numElements));
  decodeToF32(dtype, raw, values);
  return new Uint8Array(values.buffer);
}

import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import type { Weights } from "../weights/safetensors.ts";
import type { TensorRows } from "./tensor_rows.ts";

/** Where the rows of one buffer come from and go to. */
export interface UploadTarget {
  readonly device: Device;
  readonly checkpoint: Weights;
  /** All rows of the buffer, in order. */
  readonly rows: readonly TensorRows[];
  readonly buffer: DeviceBuffer;
  /** Is told the bytes of the checkpoint that each piece has used up. */
  readonly onBytes: (count: number) => void;
}

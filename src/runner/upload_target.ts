import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { TensorRows } from "./tensor_rows.ts";

/** The source and target of the rows of one buffer. */
export interface UploadTarget {
  readonly device: Device;
  readonly checkpoint: Checkpoint;
  /** All rows of the buffer, in order. */
  readonly rows: readonly TensorRows[];
  readonly buffer: DeviceBuffer;
  /** Called with the checkpoint's bytes that each piece has consumed. */
  readonly onBytes: (count: number) => void;
}

import { StartupError } from "../core/errors.ts";
import { DTYPE_BYTES } from "./dtypes.ts";
import { elementAt, findNonFinite } from "./finite.ts";
import type { Checkpoint, TensorInfo } from "./checkpoint.ts";

/**
 * Fills `into`, which begins at a multiple of 4, with a tensor's bytes from `byteOffset` on.
 *
 * @throws {StartupError} naming file, tensor, index and value where an element is not a finite
 * number; and as `Checkpoint.readRange`.
 */
export function readFinite(
  checkpoint: Checkpoint,
  { name, dtype, shape }: TensorInfo,
  byteOffset: number,
  into: Uint8Array,
): void {
  checkpoint.readRange(name, byteOffset, into);
  const found = findNonFinite(dtype, into);
  if (found === -1) return;
  const index = byteOffset / DTYPE_BYTES[dtype] + found;
  throw new StartupError(
    `${checkpoint.fileOf(name)}: tensor ${JSON.stringify(name)} has ${
      elementAt(dtype, into, found)
    } ` +
      `at index ${index} of shape [${shape.join(", ")}]: weights must be finite numbers`,
  );
}

import { readModel } from "../../models/registry.ts";
import { StartupError } from "../core/errors.ts";
import { matrixBytes } from "../core/weight_format.ts";
import type { PlannedWeights } from "../plan/weight_bytes.ts";
import { deviceTypes } from "../runner/device_dtypes.ts";
import { isVector, weightShape } from "../runner/weight_buffers.ts";
import { isGgufPath } from "../weights/gguf/gguf_file.ts";
import type { ModelSource } from "../weights/model_source.ts";

/**
 * Bytes of a GGUF file's weights on the device, to the byte, as they are loaded unless
 * `--quantization` is given: what is kept in blocks, and what becomes another format. Undefined for
 * other models, and for files of models that the server cannot run.
 */
export function fileWeights(source: ModelSource): PlannedWeights | undefined {
  if (!isGgufPath(source.path)) return undefined;
  try {
    return countWeights(source);
  } catch (error) {
    // Planning is for any file with a config; serving says what is wrong with the rest.
    if (error instanceof StartupError) return undefined;
    throw error;
  }
}

function countWeights(source: ModelSource): PlannedWeights {
  const { weights: specs } = readModel(source.configFiles());
  const checkpoint = source.openCheckpoint();
  try {
    let [bytes, largestMatrixBytes] = [0, 0];
    for (const spec of specs) {
      const { numOutputs, rowsPerOutput, columns } = weightShape(spec);
      const tensors = spec.tensors.map((name) => checkpoint.tensor(name));
      const { dtype, parts } = deviceTypes(spec, tensors, undefined);
      const size = (parts ?? [{ begin: 0, end: numOutputs, dtype }]).reduce(
        (sum, { begin, end, dtype }) =>
          sum + matrixBytes(dtype, (end - begin) * rowsPerOutput, columns),
        0,
      );
      bytes += size;
      if (!isVector(spec)) largestMatrixBytes = Math.max(largestMatrixBytes, size);
    }
    return { format: "file", bytes, largestMatrixBytes };
  } finally {
    checkpoint.close();
  }
}

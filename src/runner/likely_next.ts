import type { StepDims } from "../../kernels/step.ts";

/**
 * The sizes of the step that follows one of decodes alone if nobody joins, ends or needs a copy; undefined
 * after any other, where the next one depends on what waits.
 *
 * Penalties may have one entry more in the next step, which changes nothing but at multiples of 64.
 */
export function likelyNext(dims: StepDims): StepDims | undefined {
  if (dims.numDecodes === 0 || dims.numTiles > 0) return undefined;
  return { ...dims, numCopies: 0, maxDecodeLen: dims.maxDecodeLen + 1 };
}

import type { StepDims } from "../../kernels/step.ts";

/**
 * The sizes of the step that follows one of decodes alone if nobody joins, ends or needs a copy; undefined
 * after any other, where the next one depends on what waits.
 *
 * How many splits there will be after that is not known and taken for as many; penalties may have an
 * entry more. Neither changes a step's workgroups but now and then.
 */
export function likelyNext(dims: StepDims): StepDims | undefined {
  if (dims.numDecodes === 0 || dims.numTiles > 0) return undefined;
  return { ...dims, numCopies: 0, numSplits: dims.numNextSplits };
}

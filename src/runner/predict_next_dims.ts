import type { StepDims } from "../../kernels/step.ts";

/**
 * Predicts the dimensions of the next step from a step of decodes alone: the same sequences, as
 * many tokens further as the plan has steps, without block copies. Undefined after a step with a
 * prefill or without decodes, since the next one then depends on the queue.
 *
 * `numNextSplits` and the entries of penalties are taken to stay as they are. A wrong guess rarely
 * changes the workgroup counts, and the device checks these before it submits what it encoded
 * ahead.
 */
export function predictNextDims<Dims extends StepDims>(dims: Dims): Dims | undefined {
  if (dims.numDecodes === 0 || dims.numQueryTiles > 0) return undefined;
  return { ...dims, numCopies: dims.numCopies.map(() => 0), numSplits: dims.numNextSplits };
}

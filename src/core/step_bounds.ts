/**
 * What a step is to be cut to, from how long the steps before have taken: data that stands in a
 * trace, so that a replay plans the same without a clock.
 */
export interface StepBounds {
  /** Most decode steps that the plan stands for. Absent: as many as are configured. */
  readonly maxDecodeSteps?: number;
}

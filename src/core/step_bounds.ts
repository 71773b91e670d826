/**
 * What a step is to be cut to, from how long the steps before have taken: data that stands in a
 * step trace, so that a replay plans the same without a clock.
 */
export interface StepBounds {
  /** Most decode steps that the plan stands for. Absent: as many as are configured. */
  readonly maxDecodeSteps?: number;
  /**
   * Most tokens of prompts that the step computes, by the binary digits of the context that they
   * end with; the last number stands for longer ones as well. Prompts of several contexts share a
   * step in proportion. Absent: the token budget alone limits them.
   */
  readonly maxPrefillTokens?: readonly number[];
}

/** Binary digits of a whole number below 2^32. */
export function digitsOf(value: number): number {
  return 32 - Math.clz32(value);
}

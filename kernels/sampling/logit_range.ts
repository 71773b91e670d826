import source from "./_logit_range.wgsl" with { type: "text" };

/** Below every logit that may be drawn; the logit of a banned token. */
export const LOWEST: number = Math.fround(-3.4e38);

/** Above every logit: a row with one that is not below it, or NaN, has overflowed. */
export const HIGHEST: number = Math.fround(3.4e38);

/** The largest logit that an adjustment makes. */
export const LARGEST_ADJUSTED: number = Math.fround(3.3e38);

/** The WGSL of these bounds, before a kernel's source. */
export const logitRangeWgsl: string = source;

/** Whether a logit is NaN or not below {@link HIGHEST}: the model has overflowed. */
export function isOverflow(logit: number): boolean {
  return !(logit < HIGHEST);
}

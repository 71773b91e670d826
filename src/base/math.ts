/** Smallest integer `q` with `q * divisor >= value`. */
export function ceilDiv(value: number, divisor: number): number {
  return Math.ceil(value / divisor);
}

/** Smallest multiple of `step` that is at least `value`. */
export function alignUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** Largest multiple of `step` that is at most `value`. */
export function alignDown(value: number, step: number): number {
  return Math.floor(value / step) * step;
}

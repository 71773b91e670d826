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

/** The largest integer in `[1, limit]` that holds, as all below it do; 0 where none does. */
export function largestThat(limit: number, holds: (value: number) => boolean): number {
  let [found, most] = [0, limit];
  while (found < most) {
    const middle = Math.ceil((found + most) / 2);
    if (holds(middle)) found = middle;
    else most = middle - 1;
  }
  return found;
}

/**
 * The nearest integer, of two the even one: how WGSL's `round` and the conversions of GPUs break
 * ties.
 */
export function roundToEven(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

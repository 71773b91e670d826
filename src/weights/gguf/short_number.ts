/**
 * The number of fewest digits that rounds to the same f32: metadata has f32 where config.json has
 * decimals, and 1e-5 should not become 9.999999747378752e-6.
 */
export function shortNumber(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

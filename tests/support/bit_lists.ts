import fc from "fast-check";

/**
 * Lists of 1 to `maxLength` (at most 30) zeros and ones, each length and each element as likely as
 * any: as `fc.array(fc.nat(1))` without a bias makes them, from two drawn numbers and not one each.
 */
export function bitLists(maxLength: number): fc.Arbitrary<readonly number[]> {
  const parts = fc.tuple(fc.integer({ min: 1, max: maxLength }), fc.nat(2 ** maxLength - 1));
  return parts.map(([length, bits]) => {
    const list: number[] = [];
    while (list.length < length) list.push((bits >> list.length) & 1);
    return list;
  });
}

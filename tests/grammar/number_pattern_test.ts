import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  ANY_INTEGER,
  ANY_NUMBER,
  type NumberBounds,
  numberPattern,
} from "../../src/grammar/number_pattern.ts";
import { runs } from "../support/runs.ts";

/** Numbers of up to six digits before the point and three behind it. */
const numbers = fc.tuple(fc.integer({ min: -999_999, max: 999_999 }), fc.nat(3), fc.nat(3))
  .map(([whole, shift, places]) => Number((whole / 10 ** (shift + 3)).toFixed(places)) + 0);

const bounds: fc.Arbitrary<NumberBounds> = fc.record({
  minimum: numbers,
  maximum: numbers,
  exclusiveMinimum: numbers,
  exclusiveMaximum: numbers,
}, { requiredKeys: [] });

function isWithin(value: number, limits: NumberBounds): boolean {
  const { minimum = -Infinity, maximum = Infinity } = limits;
  const { exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = limits;
  return minimum <= value && value <= maximum && exclusiveMinimum < value &&
    value < exclusiveMaximum;
}

for (const type of ["number", "integer"] as const) {
  Deno.test(`numberPattern() matches each ${type} within its bounds, and no other`, () => {
    let numInside = 0;
    fc.assert(
      fc.property(bounds, fc.array(numbers, { minLength: 20 }), fc.nat(3), (limits, others, d) => {
        const near = Object.values(limits).flatMap((bound) =>
          [-1, -0.1, -0.001, 0, 0.001, 0.1, 1].map((step) => Number((bound + step).toFixed(d)))
        );
        const pattern = numberPattern(type, limits);
        const regex = new RegExp(`^${pattern ?? "[]"}$`);
        for (
          const value of [...others, ...near].map((one) =>
            type === "integer" ? Math.round(one) : one
          )
        ) {
          const text = String(value + 0);
          assertEquals(regex.test(text), isWithin(value, limits), `${text} by ${pattern}`);
          if (isWithin(value, limits)) numInside++;
        }
      }),
      { seed: 31, numRuns: runs(2000) },
    );
    assert(numInside > 0);
  });
}

Deno.test("numberPattern() reads bounds beyond what is written as none, and refuses tiny ones", () => {
  assertEquals(
    numberPattern("integer", { minimum: 3, maximum: 1e300 }),
    numberPattern("integer", { minimum: 3 }),
  );
  assertEquals(
    numberPattern("number", { maximum: 1e300 }),
    numberPattern("number", { maximum: 1e16 }),
  );
  assertEquals(numberPattern("integer", { minimum: 2.2, maximum: 2.8 }), undefined);
  assertThrows(() => numberPattern("number", { minimum: 1e-9 }), RangeError, "1e-9");
});

Deno.test("numbers without bounds are JSON's own, and end", () => {
  const number = new RegExp(`^${ANY_NUMBER}$`);
  for (const text of ["0", "-1", "12.5", "1e5", "-0.25E-10"]) assert(number.test(text), text);
  for (const text of ["01", ".5", "1.", "+1", "1e", "9".repeat(16)]) {
    assert(!number.test(text), text);
  }
  assert(!new RegExp(`^${ANY_INTEGER}$`).test("1.0"));
});

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { JsonCost } from "../../../src/http/body/json_cost.ts";
import { runs } from "../../support/runs.ts";

/** What a value costs, counted on the value. */
function costOf(value: unknown): number {
  if (Array.isArray(value)) {
    return 4 + Math.max(0, value.length - 1) + value.reduce((sum, item) => sum + costOf(item), 0);
  }
  if (typeof value !== "object" || value === null) return 0;
  const fields = Object.values(value);
  const own = 8 + 16 * fields.length + Math.max(0, fields.length - 1);
  return fields.reduce<number>((sum, field) => sum + costOf(field), own);
}

Deno.test("JsonCost counts the values of any JSON, however its bytes are cut", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 9 }), (value, size) => {
      const bytes = new TextEncoder().encode(JSON.stringify(value));
      const cost = new JsonCost();
      for (let at = 0; at < bytes.length; at += size) cost.add(bytes.subarray(at, at + size));
      assertEquals(cost.total, costOf(value));
    }),
    { seed: 5, numRuns: runs(2000) },
  );
});

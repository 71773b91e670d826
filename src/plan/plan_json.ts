import type { KvPlan } from "./kv_plan.ts";

/**
 * A plan as it leaves the program, over HTTP and by `--json`: the same fields under names in snake
 * case, as the API has them.
 */
export function planJson(plan: KvPlan): Record<string, unknown> {
  return renameFields(plan);
}

function renameFields(record: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      toWire(value),
    ]),
  );
}

function toWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toWire);
  return typeof value === "object" && value !== null ? renameFields(value) : value;
}

import type { Model } from "../../models/model.ts";
import { ropeTable, type RopeTableSpec } from "../../models/rope_table.ts";
import type { KvBudget } from "./memory_budget.ts";

/** The lengths of contexts that a position table has rows for. */
export interface PositionTableLengths {
  readonly maxModelLen: number;
  /** Rows for short contexts, before those for long ones; absent: all rows are for all contexts. */
  readonly shortContextLen?: number;
}

/**
 * The model's short context, where sequences may become longer than it: `shortContextLen` of step
 * limits, of the scheduler and of position tables. Empty where they may not.
 */
export function shortContext(
  { shortContextLen }: Pick<Model, "shortContextLen">,
  { maxModelLen }: Pick<KvBudget, "maxModelLen">,
): { readonly shortContextLen?: number } {
  const isLimit = shortContextLen !== undefined && shortContextLen < maxModelLen;
  return isLimit ? { shortContextLen } : {};
}

/** Words of {@link positionTable}. */
export function positionTableWords(
  { rotaryDim }: Pick<RopeTableSpec, "rotaryDim">,
  { maxModelLen, shortContextLen = 0 }: PositionTableLengths,
): number {
  return (shortContextLen + maxModelLen) * rotaryDim;
}

/**
 * The rows of a position table, f32 `[rows, rotaryDim / 2, 2]`: those of all positions, or those of
 * a short context and then those of all positions in a long one.
 */
export function positionTable(
  spec: RopeTableSpec,
  { maxModelLen, shortContextLen }: PositionTableLengths,
): Float32Array<ArrayBuffer> {
  if (shortContextLen === undefined) return ropeTable({ ...spec, maxPositions: maxModelLen });
  const short = ropeTable({ ...spec, maxPositions: shortContextLen });
  const long = ropeTable({ ...spec, maxPositions: maxModelLen, isLong: true });
  const rows = new Float32Array(short.length + long.length);
  rows.set(short);
  rows.set(long, short.length);
  return rows;
}

import type { Capabilities, MatrixConfig } from "../../src/device/capabilities.ts";
import type { ServedRows } from "./tiles.ts";

/**
 * The product of two small matrices that a device has an instruction for, as `gemm_subgroup_matrix`
 * uses it: the lanes of a subgroup multiply m x k by k x n elements of `type` and add the product
 * to m x n sums in f32.
 */
export interface MatrixUnit {
  readonly type: "f16" | "f32";
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Lanes of the widest subgroup, by which Dawn wants the lanes of a workgroup to be divisible. */
  readonly lanes: number;
}

/** Rows and weight rows of a workgroup's tile, and of each of its subgroups. */
export interface MatrixShape {
  readonly rows: number;
  readonly columns: number;
  /** Multiples of the unit's m and n, and of 2n where a product is gated. */
  readonly subgroupRows: number;
  readonly subgroupColumns: number;
}

/** A tile of `gemm_subgroup_matrix`, and the numbers of rows it serves. */
export interface MatrixTile extends MatrixShape, ServedRows {
  readonly unit: MatrixUnit;
}

/** Most rows and outputs of a unit that the shapes below are made of. */
const MAX_SIDE = 16;
/** Shared memory that they need at the most, and subgroups. */
const MAX_BYTES = 32_768;
const MAX_SUBGROUPS = 8;

/** Inputs staged at a time: 64 bytes of a row, of either type. */
export function stagedInputs({ type }: Pick<MatrixUnit, "type">): number {
  return type === "f16" ? 32 : 16;
}

/**
 * The unit that a device's products use; undefined where none fits.
 *
 * f16 with sums in f32 comes first. Sums in f16 are not used: they overflow at 65,504 and lose what
 * a sum of thousands needs. Where only these are offered beside f32 (Apple), f32 is as fast and
 * rounds nothing. Of several sizes the largest is taken, since it loads least per product.
 */
export function matrixUnitOf(
  { tier, hasF16, hasSubgroups, subgroupMaxSize, matrixConfigs, ...limits }: Pick<
    Capabilities,
    | "tier"
    | "hasF16"
    | "hasSubgroups"
    | "subgroupMaxSize"
    | "matrixConfigs"
    | "maxWorkgroupBytes"
    | "maxWorkgroupLanes"
  >,
): MatrixUnit | undefined {
  if (tier === "software" || !hasSubgroups) return undefined;
  if (limits.maxWorkgroupBytes < MAX_BYTES) return undefined;
  if (limits.maxWorkgroupLanes < MAX_SUBGROUPS * subgroupMaxSize) return undefined;
  const units = matrixConfigs
    .map((config) => unitOf(config, subgroupMaxSize))
    .filter((unit) => unit !== undefined)
    .filter(({ type }) => type === "f32" || hasF16);
  const volume = ({ type, m, n, k }: MatrixUnit) => m * n * k * (type === "f16" ? 1e6 : 1);
  return units.reduce<MatrixUnit | undefined>(
    (best, unit) => best === undefined || volume(unit) > volume(best) ? unit : best,
    undefined,
  );
}

function unitOf(config: MatrixConfig, lanes: number): MatrixUnit | undefined {
  const { componentType: type, resultComponentType, M: m, N: n, K: k } = config;
  if ((type !== "f16" && type !== "f32") || resultComponentType !== "f32") return undefined;
  const isMadeOf = MAX_SIDE % m === 0 && MAX_SIDE % n === 0 && stagedInputs({ type }) % k === 0;
  return isMadeOf ? { type, m, n, k, lanes } : undefined;
}

/**
 * The tiles of products where a device has `unit`, none where it has none.
 *
 * From 17 rows on: at 16 the multiply-adds of `gemm` hide behind the weights' bytes (16 rows do 16
 * operations per byte of f16, and GPUs 30 to 80 in f32), and the rows would have to be cast first.
 * Up to 64 rows, small tiles make more workgroups.
 */
export function matrixTilesOf(unit: MatrixUnit | undefined): readonly MatrixTile[] {
  if (unit === undefined) return [];
  const [few, many] = [MATRIX_SHAPES.few[0]!, MATRIX_SHAPES.many[0]!];
  return [
    { minRows: 17, maxRows: 64, ...few, unit },
    { minRows: 65, maxRows: Infinity, ...many, unit },
  ];
}

const shape = (
  [rows, columns]: readonly [number, number],
  [subgroupRows, subgroupColumns]: readonly [number, number],
): MatrixShape => ({ rows, columns, subgroupRows, subgroupColumns });

/** Shapes to try for 17 to 64 rows and for more, the default first. */
export const MATRIX_SHAPES: Readonly<Record<"few" | "many", readonly MatrixShape[]>> = {
  few: [shape([32, 64], [16, 32]), shape([32, 32], [16, 32]), shape([64, 64], [32, 32])],
  many: [shape([64, 64], [32, 32]), shape([128, 64], [32, 32]), shape([64, 128], [32, 64])],
};

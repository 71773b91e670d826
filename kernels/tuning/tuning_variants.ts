import type { Tier } from "../../src/device/capabilities.ts";
import { MATRIX_SHAPES, type MatrixTile } from "./matrix_tuning.ts";
import { isGemmTile, isMatrixTile, type ProductTile, withTile } from "./product_tiles.ts";
import type { ServedRows } from "./tiles.ts";
import type { GemmTile, MatmulTile, Tuning } from "./tuning.ts";

/** One way to run an operation. */
export interface TuningVariant {
  /** Names the change; unique among the variants of one operation. */
  readonly name: string;
  /** The tuning with this operation run this way, all else as it was. */
  readonly apply: (tuning: Tuning) => Tuning;
}

/** The name of the variant that changes nothing. */
export const DEFAULT_VARIANT = "default";

/** Numbers of rows that are tuned alike. */
export interface RowClass extends ServedRows {
  /** Of these, how many rows are timed. */
  readonly timedRows: number;
}

/** The classes that products are tuned for one by one: all numbers of rows there are, in order. */
export const ROW_CLASSES: readonly RowClass[] = [
  { minRows: 1, maxRows: 1, timedRows: 1 },
  { minRows: 2, maxRows: 4, timedRows: 4 },
  { minRows: 5, maxRows: 8, timedRows: 8 },
  { minRows: 9, maxRows: 16, timedRows: 16 },
  { minRows: 17, maxRows: 64, timedRows: 32 },
  { minRows: 65, maxRows: Infinity, timedRows: 256 },
];

type TileShape = Omit<MatmulTile, "minRows" | "maxRows" | "slices">;
type GemmShape = Omit<GemmTile, "minRows" | "maxRows">;

const tile = (rows: number, outputs: number, lanes: number, fusesNorm = false): TileShape => ({
  ...{ rows, outputs, lanes, fusesNorm },
});
const gemm = (
  [rows, columns]: readonly [number, number],
  [laneRows, laneColumns]: readonly [number, number],
  { slices, inputs }: { slices: number; inputs: number },
): GemmShape => ({ rows, columns, laneRows, laneColumns, slices, inputs });

/** By row class; few, since each is compiled and timed for every product. */
const SOFTWARE_TILES: readonly (readonly TileShape[])[] = [
  [tile(1, 4, 8), tile(1, 16, 8), tile(1, 8, 16)],
  [tile(4, 4, 8), tile(2, 8, 8)],
  [tile(8, 4, 8), tile(4, 8, 8)],
  [tile(8, 4, 8), tile(4, 8, 8)],
  [tile(8, 4, 8), tile(4, 8, 8)],
  [tile(8, 4, 8), tile(4, 8, 8)],
];
const GPU_TILES: readonly (readonly TileShape[])[] = [
  [tile(1, 2, 4, true), tile(1, 8, 4, true), tile(1, 4, 4), tile(1, 4, 8), tile(1, 2, 16)],
  [tile(4, 2, 4, true), tile(2, 4, 4, true), tile(4, 4, 4), tile(4, 2, 8)],
  [tile(8, 2, 4), tile(8, 2, 8), tile(4, 4, 4)],
  [tile(8, 4, 4), tile(8, 2, 8)],
  [],
  [],
];
const GPU_GEMM_TILES: readonly (readonly GemmShape[])[] = [
  [],
  [],
  [],
  [
    gemm([16, 64], [4, 4], { slices: 2, inputs: 64 }),
    gemm([32, 32], [4, 4], { slices: 4, inputs: 64 }),
  ],
  [
    gemm([32, 64], [4, 4], { slices: 2, inputs: 64 }),
    gemm([64, 64], [4, 4], { slices: 1, inputs: 32 }),
    gemm([64, 64], [8, 8], { slices: 1, inputs: 32 }),
  ],
  [
    gemm([64, 64], [4, 4], { slices: 1, inputs: 32 }),
    gemm([128, 64], [8, 8], { slices: 1, inputs: 32 }),
    gemm([128, 128], [8, 8], { slices: 1, inputs: 32 }),
  ],
];

/**
 * The changes to attention and sampling that variants may make: none takes more memory, or changes
 * a block's shape.
 */
type Changes = Partial<
  Pick<
    Tuning,
    | "splitLen"
    | "splitsPerWorkgroup"
    | "shuffleLanes"
    | "queryTile"
    | "sampleLanes"
    | "segmentLanes"
  >
>;

const SOFTWARE_CHANGES: Readonly<Record<TunedStage, readonly Changes[]>> = {
  decode: [{ splitLen: 64 }, { splitLen: 128 }, { splitsPerWorkgroup: 4 }],
  prefill: [{ queryTile: 4 }, { queryTile: 16 }],
  sampling: [{ sampleLanes: 16 }, { segmentLanes: 4 }],
};
const GPU_CHANGES: Readonly<Record<TunedStage, readonly Changes[]>> = {
  decode: [{ splitLen: 128 }, { splitLen: 256 }, { splitsPerWorkgroup: 8 }],
  prefill: [{ queryTile: 16 }, { queryTile: 64 }],
  sampling: [{ sampleLanes: 64 }, { sampleLanes: 128 }, { segmentLanes: 32 }],
};

/** Where lanes add up by shuffles: through shared memory instead. */
const SUBGROUP_CHANGES: readonly Changes[] = [{ shuffleLanes: 1 }];

/** The stages that are tuned beside products: attention of decodes and of chunks, and sampling. */
export type TunedStage = "decode" | "prefill" | "sampling";

/**
 * The ways to run the product `label` in steps of `rows` rows, the default first.
 *
 * None changes how one output of `matmul` is summed up: tiles keep the tuning's slices, have no
 * fewer lanes than its own (a subgroup shares a tile), and fuse norms only where `rms_norm` has as
 * many lanes. So up to eight rows a tuned model computes the same bits as one that is not. Tiles of
 * `gemm` and of matrix units are offered where the tuning uses them at all, which a deterministic
 * one does not.
 */
export function productVariants(
  tier: Tier,
  tuning: Tuning,
  label: string,
  rows: RowClass,
): readonly TuningVariant[] {
  const { minRows, maxRows } = rows;
  const at = ROW_CLASSES.indexOf(rows);
  const { slices, lanes } = tuning.matmulTiles[0]!;
  const matmulTiles = (tier === "software" ? SOFTWARE_TILES : GPU_TILES)[at]!
    .filter((shape) => tier === "software" || shape.lanes >= lanes)
    .map((shape) => ({ ...shape, slices, fusesNorm: fusesNorm(shape, tuning) }));
  const gemmTiles = tuning.gemmTiles.length > 0 ? GPU_GEMM_TILES[at]! : [];
  const shapes = matrixVariants(tuning, rows) ?? [...matmulTiles, ...gemmTiles];
  return withDefault(shapes.map((shape) => ({
    name: tileName(shape),
    apply: (to: Tuning) => withTile(to, label, { ...shape, minRows, maxRows }),
  })));
}

/**
 * Where matrix units run such rows, their other shapes and, that there be no more than a handful,
 * one of `gemm`: what would run without them. Undefined where they do not.
 */
function matrixVariants(
  { matrixTiles, gemmTiles }: Tuning,
  { minRows, maxRows }: RowClass,
): readonly (GemmShape | Omit<MatrixTile, "minRows" | "maxRows">)[] | undefined {
  const serves = (tile: ServedRows) => tile.minRows <= minRows && maxRows <= tile.maxRows;
  const tile = matrixTiles.find(serves);
  if (tile === undefined) return undefined;
  const [, ...others] = tile.maxRows === Infinity ? MATRIX_SHAPES.many : MATRIX_SHAPES.few;
  return [
    ...others.map((shape) => ({ ...shape, unit: tile.unit })),
    ...gemmTiles.filter(serves),
  ];
}

/** The ways to run attention or sampling, the default first. */
export function stageVariants(tier: Tier, stage: TunedStage): readonly TuningVariant[] {
  const changes = [
    ...(tier === "software" ? SOFTWARE_CHANGES : GPU_CHANGES)[stage],
    ...tier === "subgroups" && stage === "decode" ? SUBGROUP_CHANGES : [],
  ];
  return withDefault(changes.map((change) => ({
    name: Object.entries(change).map(([field, value]) => `${FIELD_WORDS[field]} ${value}`).join(),
    apply: (to: Tuning) => ({ ...to, ...change }),
  })));
}

const FIELD_WORDS: Readonly<Record<string, string>> = {
  splitLen: "splits of",
  splitsPerWorkgroup: "splits per workgroup",
  shuffleLanes: "lanes that shuffle",
  queryTile: "query rows",
  sampleLanes: "lanes",
  segmentLanes: "lanes of the first phase",
} satisfies Record<keyof Changes, string>;

/** The variant that changes nothing, and then the others. */
export function withDefault(others: readonly TuningVariant[]): readonly TuningVariant[] {
  return [{ name: DEFAULT_VARIANT, apply: (tuning) => tuning }, ...others];
}

function fusesNorm(shape: TileShape, { normLanes, matmulTiles }: Tuning): boolean {
  return shape.fusesNorm && shape.lanes * matmulTiles[0]!.slices === normLanes;
}

function tileName(shape: Omit<ProductTile, "minRows" | "maxRows">): string {
  if (isMatrixTile(shape)) {
    const { rows, columns, subgroupRows, subgroupColumns } = shape;
    return `matrix units ${rows}x${columns} by ${subgroupRows}x${subgroupColumns}`;
  }
  if (isGemmTile(shape)) {
    const { rows, columns, laneRows, laneColumns, slices } = shape;
    return `gemm ${rows}x${columns} by ${laneRows}x${laneColumns}, ${slices} slices`;
  }
  const { rows, outputs, lanes } = shape as MatmulTile;
  const norm = (shape as MatmulTile).fusesNorm ? ", norm fused" : "";
  return `matmul ${rows}x${outputs}, ${lanes} lanes${norm}`;
}

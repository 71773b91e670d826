import type { Int8Activations } from "../../src/core/weight_format.ts";
import type { Capabilities } from "../../src/device/capabilities.ts";
import { type MatrixTile, matrixTilesOf, matrixUnitOf } from "./matrix_tuning.ts";
import type { BlockTile, RegisterTile } from "./tiles.ts";
import { GPU_W8A8, SOFTWARE_W8A8, type W8a8Tuning } from "./w8a8_tuning.ts";

/** A tile of `matmul` and `norm_matmul`. */
export interface MatmulTile extends RegisterTile {
  /**
   * Lanes that share one tile's inputs; 1 needs no barrier. The same for all tiles of a tuning: it
   * decides the order of additions, which must not depend on the number of rows. With subgroups,
   * `lanes * slices` are the lanes of a workgroup, and those of one subgroup share a tile.
   */
  readonly slices: number;
  /** Whether the rows are normalized on the way in, where that is asked for; needs slices. */
  readonly fusesNorm: boolean;
}

/** A tile of `gemm`. */
export interface GemmTile extends BlockTile {
  /** Sets of lanes that share the tile's inputs. */
  readonly slices: number;
  /** Inputs staged at a time when weights are staged as f16, a power of two; half of it as f32. */
  readonly inputs: number;
}

/** The tiles of a matrix product. */
export interface ProductTiles {
  readonly matmulTiles: readonly MatmulTile[];
  /** From the least `minRows` of these on, `gemm` takes over from `matmul`; none for never. */
  readonly gemmTiles: readonly GemmTile[];
  /**
   * From the least `minRows` of these on, `gemm_subgroup_matrix` takes over from `gemm`; none for
   * never.
   */
  readonly matrixTiles: readonly MatrixTile[];
}

/** Shapes of workgroups and tiles. They change speed and rounding, never meaning. */
export interface Tuning extends ProductTiles {
  /**
   * Products, by their label, with tiles of their own. In these exactly one tile serves any number
   * of rows, whichever kernel's it is; see `product_tiles.ts`.
   */
  readonly productTiles?: Readonly<Record<string, ProductTiles>>;
  /** Fours of inputs that a lane takes in a row, a power of two; where a row allows. */
  readonly matmulRun: number;
  /** Whether `matmul` uses subgroup operations, see `_matmul_tile.wgsl`. */
  readonly matmulSubgroups: boolean;
  /**
   * Whether matrices are kept as textures in panels (`panel_weights.ts`), where the device has
   * textures.
   */
  readonly usesWeightTextures: boolean;
  /** `gemm` may stage weights that are f16 as f16. */
  readonly stageF16: boolean;
  /** Products of int8 and int4 weights quantize their activations and multiply integers. */
  readonly usesW8a8: boolean;
  /** The shapes of these. */
  readonly w8a8: W8a8Tuning;
  /**
   * Lanes that reduce one row in `rms_norm` (as many as in a workgroup of tiles that fuse it), and
   * at least in the last phase of sampling; powers of two.
   */
  readonly normLanes: number;
  readonly sampleLanes: number;
  /** Lanes per workgroup of sampling's first phase. */
  readonly segmentLanes: number;
  /** Largest vocabulary that is sampled in one phase. */
  readonly fusedVocabSize: number;
  /**
   * Positions per split of a decode's context; fixed, so that results do not depend on the batch.
   */
  readonly splitLen: number;
  /** Splits per workgroup of decode attention. */
  readonly splitsPerWorkgroup: number;
  /**
   * Attention by workgroups that share what they read, where the shape allows; else by lone lanes.
   */
  readonly attendsByWorkgroup: boolean;
  /** Whether lone lanes of prefill attention share their loads by subgroup operations. */
  readonly attentionSubgroups: boolean;
  /**
   * Neighbouring lanes of workgroups that share K and V that add up by subgroup shuffles, where
   * heads are long enough: a power of two, which every subgroup holds; 1 for none.
   */
  readonly shuffleLanes: number;
  /** Query rows per tile of prefill attention. */
  readonly queryTile: number;
  /** Positions of one softmax update in attention; divides the block size. */
  readonly positionTile: number;
  /**
   * Whether a row's numbers have the same bits alone and in any batch, as a decode and in any
   * chunk. Nothing is then chosen by measuring, since times would decide about the order of
   * additions.
   */
  readonly isDeterministic: boolean;
}

/**
 * Lanes of a workgroup of the tiles below, which share out what they load: a subgroup must hold
 * them.
 */
export const SOFTWARE_LANES = 8;

/**
 * For adapters whose threads are CPU threads: one SIMD vector of lanes, no barriers, little code,
 * since wake-ups, coroutines and compilation are what costs there.
 */
export const SOFTWARE_TUNING: Tuning = {
  matmulTiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 8, lanes: 8, slices: 1, fusesNorm: false },
    { minRows: 2, maxRows: 4, rows: 4, outputs: 8, lanes: 8, slices: 1, fusesNorm: false },
    { minRows: 5, maxRows: Infinity, rows: 8, outputs: 8, lanes: 8, slices: 1, fusesNorm: false },
  ],
  matmulRun: 2,
  matmulSubgroups: false,
  usesWeightTextures: true,
  gemmTiles: [],
  matrixTiles: [],
  stageF16: false,
  usesW8a8: false,
  w8a8: SOFTWARE_W8A8,
  normLanes: 8,
  sampleLanes: 8,
  segmentLanes: 8,
  fusedVocabSize: 8192,
  splitLen: 32,
  splitsPerWorkgroup: 8,
  attendsByWorkgroup: false,
  attentionSubgroups: false,
  shuffleLanes: 1,
  queryTile: 8,
  positionTile: 4,
  isDeterministic: false,
};

/** For GPUs: wide workgroups, the inputs of one output shared among lanes. */
export const GPU_TUNING: Tuning = {
  matmulTiles: [
    { minRows: 1, maxRows: 1, rows: 1, outputs: 4, lanes: 4, slices: 16, fusesNorm: true },
    { minRows: 2, maxRows: 2, rows: 2, outputs: 4, lanes: 4, slices: 16, fusesNorm: true },
    { minRows: 3, maxRows: 4, rows: 4, outputs: 4, lanes: 4, slices: 16, fusesNorm: true },
    { minRows: 5, maxRows: Infinity, rows: 8, outputs: 4, lanes: 4, slices: 16, fusesNorm: false },
  ],
  // 16 bytes of f16, the widest load of a lane.
  matmulRun: 2,
  matmulSubgroups: false,
  usesWeightTextures: false,
  // Up to 64 rows the weights' bytes are what takes time: small tiles make more workgroups.
  gemmTiles: [
    {
      minRows: 9,
      maxRows: 16,
      rows: 16,
      columns: 32,
      laneRows: 4,
      laneColumns: 4,
      slices: 4,
      inputs: 64,
    },
    {
      minRows: 17,
      maxRows: 64,
      rows: 32,
      columns: 32,
      laneRows: 4,
      laneColumns: 4,
      slices: 4,
      inputs: 64,
    },
    {
      minRows: 65,
      maxRows: Infinity,
      rows: 64,
      columns: 64,
      laneRows: 8,
      laneColumns: 8,
      slices: 1,
      inputs: 32,
    },
  ],
  matrixTiles: [],
  stageF16: false,
  usesW8a8: false,
  w8a8: GPU_W8A8,
  normLanes: 64,
  sampleLanes: 256,
  segmentLanes: 64,
  fusedVocabSize: 8192,
  splitLen: 64,
  splitsPerWorkgroup: 16,
  attendsByWorkgroup: true,
  attentionSubgroups: false,
  shuffleLanes: 1,
  queryTile: 32,
  positionTile: 4,
  isDeterministic: false,
};

/** The user's options of a tuning. */
export interface TuningOptions {
  /**
   * Leaves out every kernel whose order of additions depends on the step: `gemm`, subgroup
   * matrices, sums over subgroups whose size the driver chooses per kernel, and the GPUs' own
   * attention for chunks. Prompts take longer.
   */
  readonly isDeterministic?: boolean;
  /** Default: "off". */
  readonly int8Activations?: Int8Activations;
}

/** The shapes for a device that granted `capabilities`. */
export function tuningFor(
  capabilities: Capabilities,
  { isDeterministic = false, int8Activations = "off" }: TuningOptions = {},
): Tuning {
  const { tier, hasF16, hasSubgroups, subgroupMinSize, subgroupMaxSize } = capabilities;
  const isSoftware = tier === "software";
  const sharesLoads = hasSubgroups && subgroupMinSize >= SOFTWARE_LANES;
  const matrixTiles = isDeterministic ? [] : matrixTilesOf(matrixUnitOf(capabilities));
  const tuning = {
    ...isSoftware ? SOFTWARE_TUNING : GPU_TUNING,
    matmulSubgroups: isSoftware ? sharesLoads : hasSubgroups,
    attentionSubgroups: isSoftware && sharesLoads,
    shuffleLanes: !isSoftware && hasSubgroups ? shuffleLanesOf(subgroupMinSize) : 1,
    stageF16: hasF16,
    matrixTiles,
    // Matrix units do many rows faster and without rounding to int8; few rows wait for weights
    // anyway.
    usesW8a8: int8Activations === "auto"
      ? capabilities.hasPackedDot && !isSoftware && matrixTiles.length === 0
      : int8Activations === "on",
  };
  if (!isDeterministic) return tuning;
  const sizeIsFixed = subgroupMinSize === subgroupMaxSize;
  return {
    ...tuning,
    matmulSubgroups: tuning.matmulSubgroups && (sizeIsFixed || !addsOverSubgroups(tuning)),
    gemmTiles: [],
    isDeterministic,
  };
}

/** Lanes that every subgroup size of the driver holds, at most 32: more gain nothing. */
function shuffleLanesOf(subgroupMinSize: number): number {
  return Math.min(32, 2 ** Math.floor(Math.log2(Math.max(1, subgroupMinSize))));
}

/** Lone lanes only pass inputs on through subgroups; several add up through them. */
function addsOverSubgroups({ matmulTiles, matmulSubgroups }: Tuning): boolean {
  return matmulSubgroups && matmulTiles.some(({ slices }) => slices > 1);
}

/** Most lanes of a workgroup that every adapter allows. */
export const MAX_LANES = 256;

/** Most workgroups along one axis that every adapter allows. */
export const MAX_GRID = 65535;

/** Splits `count` workgroups over x and z, `x * z >= count`; kernels skip the surplus. */
export function foldGrid(count: number): readonly [x: number, z: number] {
  const z = Math.ceil(count / MAX_GRID);
  return [Math.ceil(count / z), z];
}

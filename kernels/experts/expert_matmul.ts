import type { HostBuffer } from "../../src/device/host_buffer.ts";
import {
  argsWgsl,
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
  type Workgroups,
} from "../../src/device/kernel.ts";
import epilogue from "../matmul/_epilogue.wgsl" with { type: "text" };
import invocation from "../matmul/_invocation.wgsl" with { type: "text" };
import { dotProduct } from "../matmul/dot_products.ts";
import {
  type Finish,
  finishOutput,
  isGated,
  PRODUCT_ARGS,
  weightRows,
} from "../matmul/epilogue.ts";
import {
  type MatmulShape,
  matmulShape,
  matmulTileWgsl,
  type ProductConstants,
} from "../matmul/matmul.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import { foldGrid, type Tuning } from "../tuning/tuning.ts";
import elements from "../weights/_elements.wgsl" with { type: "text" };
import type { ServedRows } from "../tuning/tiles.ts";
import {
  type WeightConstants,
  weightConstants,
  type WeightDtype,
  weightValues,
} from "../weights/weight_dtype.ts";
import { shardsOf, type WeightBuffers } from "../weights/weight_shards.ts";
import expertRows from "./_expert_rows.wgsl" with { type: "text" };
import source from "./expert_matmul.wgsl" with { type: "text" };
import { expertTiles, maxExpertTiles, servesExperts, TILE_ENTRY_WORDS } from "./pack_experts.ts";
import type { Routing } from "./route_experts.ts";

/** What the constants of a product by experts are beside those of a plain one's tile. */
export type ExpertConstants =
  & WeightConstants
  & Readonly<{
    /** The experts whose matrices `w` has. */
    FIRST: number;
    END: number;
    /** Weight rows of one expert. */
    EXPERT_ROWS: number;
    /** Whether each gate lies before its up, in place of all gates before all ups. */
    ALTERNATES: boolean;
    /** Pairs that read the same row of x. */
    X_PAIRS: number;
  }>;

type Shape = ProductConstants & ExpertConstants;

/** What WGSL reads when it runs: so shards share the pipelines of their tiles, as products do. */
export const EXPERT_ARGS = [...PRODUCT_ARGS, "FIRST", "END", "EXPERT_ROWS"] as const;

/** Their declaration. */
export const expertArgsWgsl: string = argsWgsl(EXPERT_ARGS);

/** {@link matmul} of packed rows, each by the matrix of its expert. */
export const expertMatmul: Kernel<MatmulShape & ExpertConstants> = {
  name: "expert_matmul",
  args: EXPERT_ARGS,
  source: stepWgsl + expertArgsWgsl + elements + epilogue + expertRows + invocation +
    matmulTileWgsl + source,
  bindings: [
    { name: "x", access: "read" },
    { name: "w", access: "read" },
    { name: "y", access: "read_write" },
    { name: "bias", access: "read" },
    { name: "pairs", access: "read" },
    { name: "tiles", access: "read" },
  ],
  reference: multiplyPairs,
};

/** The definition of {@link expertMatmul}. */
export function multiplyPairs(
  { x, w, y, bias, pairs, tiles }: Readonly<Record<string, HostBuffer>>,
  shape: Shape,
): void {
  const { FIRST, END, EXPERT_ROWS, HAS_BIAS, X_PAIRS, K, N, GATED } = shape;
  const weights = weightValues(w!, shape.WEIGHT_DTYPE, (END - FIRST) * EXPERT_ROWS, K);
  for (let t = 0; t < tiles!.u32[0]!; t++) {
    const at = 1 + TILE_ENTRY_WORDS * t;
    const [expert, first, end] = tiles!.u32.subarray(at, at + TILE_ENTRY_WORDS);
    if (expert! < FIRST || expert! >= END) continue;
    const out = { y: y!.f32, bias: HAS_BIAS ? ownBiases(bias!.f32, expert!, shape) : bias!.f32 };
    const rowOf = (n: number, half: number) => {
      const row = (expert! - FIRST) * EXPERT_ROWS + ownRow(shape, n, half);
      return weights.subarray(row * K, (row + 1) * K);
    };
    const rows = pairs!.u32.subarray(first, end);
    for (let n = 0; n < N; n++) {
      const [own, up] = [rowOf(n, 0), GATED ? rowOf(n, 1) : undefined];
      for (const pair of rows) {
        const row = Math.floor(pair / X_PAIRS) * K;
        const sum = dotProduct(x!.f32, row, own);
        finishOutput(shape, out, pair, n, sum, up ? dotProduct(x!.f32, row, up) : 0);
      }
    }
  }
}

/** Where output n of an expert lies among its weight rows, or with `half` 1 its up. */
function ownRow({ N, ALTERNATES }: Pick<Shape, "N" | "ALTERNATES">, n: number, half: number) {
  return ALTERNATES ? 2 * n + half : n + half * N;
}

/** The biases of one expert as those of a plain product: of outputs, and after them of ups. */
function ownBiases(all: Float32Array, expert: number, shape: Shape): Float32Array {
  const { EXPERT_ROWS, N } = shape;
  const own = all.subarray(expert * EXPERT_ROWS, (expert + 1) * EXPERT_ROWS);
  return Float32Array.from(own, (_, i) => own[ownRow(shape, i % N, Math.floor(i / N))]!);
}

/** A product of each pair of a token and an expert with that expert's matrix. */
export interface ExpertProduct extends Pick<Finish, "epilogue" | "gateLimit"> {
  readonly label: string;
  readonly routing: Routing;
  /** Outputs from `k` inputs. */
  readonly n: number;
  readonly k: number;
  readonly dtype: WeightDtype;
  /** Whether x has a row for each pair, in place of one for each token. */
  readonly rows: "tokens" | "pairs";
  /** Whether each gate lies before its up; all gates before all ups unless given. */
  readonly alternates?: boolean | undefined;
}

/** The buffers of {@link expertMatmul}; shards of `w` are ranges of experts. */
export type ExpertBuffers =
  & Readonly<Record<"step" | "x" | "y" | "pairs" | "tiles", DeviceBuffer>>
  & Readonly<{ w: WeightBuffers; bias?: DeviceBuffer | undefined }>;

/** The buffers of one shard's calls by binding, and what its matrices are. */
export type ExpertShard =
  & Readonly<Record<"x" | "w" | "y" | "bias" | "pairs" | "tiles", DeviceBuffer>>
  & Readonly<{ experts: ShardExperts }>;

/** The experts `[begin, end)` of a shard, and the biases of all, if any. */
interface ShardExperts {
  readonly begin: number;
  readonly end: number;
  readonly bias: DeviceBuffer | undefined;
}

/**
 * One product by experts, as one call per shard and tile; each step runs those of the tile in which
 * its pairs are packed. `y`, f32 [P, N], has a row for each pair.
 */
export function expertMatmulCalls(
  product: ExpertProduct,
  { w: matrices, ...buffers }: ExpertBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { label, routing, n } = product;
  return expertShards(product, { w: matrices, ...buffers }).flatMap(({ experts, ...shard }) =>
    expertTiles(tuning).matmulTiles.map((tile) => {
      const plain = { ...product, rows: "tokens" } as const;
      const shape = matmulShape(plain, tile, tuning, { w: shard.w, bias: experts.bias });
      return kernelCall(expertMatmul, {
        label,
        constants: {
          ...shape,
          ...expertConstants(product, experts, shape.LOAD),
          WEIGHT_TEXTURE: shape.WEIGHT_TEXTURE,
        },
        buffers: shard,
        workgroups: (dims) =>
          expertGrid(tile, routing, Math.ceil(n / (shape.TILE_N * tile.lanes)), dims),
      });
    })
  );
}

/** The shards of a product's matrices with their buffers. */
export function expertShards(
  { routing }: ExpertProduct,
  { step, x, w, y, bias, pairs, tiles }: ExpertBuffers,
): ExpertShard[] {
  return shardsOf(w, routing.numExperts).map(({ buffer, begin, end }) => ({
    ...{ x, w: buffer, y, bias: bias ?? step, pairs, tiles },
    experts: { begin, end, bias },
  }));
}

/** The constants of a shard's call, for weights read by `load` fours at a time; no texture. */
export function expertConstants(
  { n, k, dtype, epilogue = "store", rows, routing, alternates = false }: ExpertProduct,
  { begin, end }: ShardExperts,
  load: number,
): ExpertConstants & { readonly EXPERTS: true } {
  const EXPERT_ROWS = weightRows(n, epilogue);
  return {
    ...weightConstants(dtype, (end - begin) * EXPERT_ROWS, k, load),
    EXPERTS: true,
    FIRST: begin,
    END: end,
    EXPERT_ROWS,
    ALTERNATES: alternates && isGated(epilogue),
    X_PAIRS: rows === "tokens" ? routing.topK : 1,
  };
}

/** The workgroups of a tile's call with so many along the outputs. */
export function expertGrid(
  tile: ServedRows & { readonly rows: number },
  routing: Routing,
  columns: number,
  dims: StepDims,
): Workgroups {
  if (!servesExperts(tile, routing, dims)) return [0, 0, 0];
  const [x, z] = foldGrid(columns);
  return [x, maxExpertTiles(tile.rows, routing, dims), z];
}

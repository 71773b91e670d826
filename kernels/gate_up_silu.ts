import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import elements from "./elements.wgsl" with { type: "text" };
import source from "./gate_up_silu.wgsl" with { type: "text" };
import { dotProduct, tileGrid } from "./matmul.ts";
import { STEP, type StepDims, stepWgsl } from "./step.ts";
import type { Tuning } from "./tuning.ts";
import { type WeightDtype, weightValues } from "./weight_dtype.ts";

type Shape =
  & Readonly<{ N: number; K: number; WEIGHT_DTYPE: WeightDtype }>
  & Readonly<{ TILE_R: number; TILE_N: number; LANES: number; SLICES: number }>;

/** `h = silu(x gate^T) * (x up^T)`; x f32 [R, K], gate and up [N, K], h f32 [R, N]. */
export const gateUpSilu: Kernel<Shape> = {
  name: "gate_up_silu",
  source: stepWgsl + elements + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "x", access: "read" },
    { name: "gate", access: "read" },
    { name: "up", access: "read" },
    { name: "h", access: "read_write" },
  ],
  reference({ step, x, gate, up, h }, { N, K, WEIGHT_DTYPE }) {
    const rows = step!.u32[STEP.numTokens]!;
    const gates = weightValues(gate!, WEIGHT_DTYPE, N, K);
    const ups = weightValues(up!, WEIGHT_DTYPE, N, K);
    for (let n = 0; n < N; n++) {
      const gateRow = gates.subarray(n * K, (n + 1) * K);
      const upRow = ups.subarray(n * K, (n + 1) * K);
      for (let r = 0; r < rows; r++) {
        const g = dotProduct(x!.f32, r * K, gateRow);
        h!.f32[r * N + n] = g / (1 + Math.exp(-g)) * dotProduct(x!.f32, r * K, upRow);
      }
    }
  },
};

/** The gated feed-forward activation of every row, one call per register tile. */
export function gateUpSiluCalls(
  { n, k, dtype }: { n: number; k: number; dtype: WeightDtype },
  buffers: Readonly<Record<"step" | "x" | "gate" | "up" | "h", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  return tuning.matmulTiles.map((tile) => {
    // Two matrices fill the registers of one: half the outputs per lane.
    const half = { ...tile, outputs: Math.max(1, tile.outputs / 2) };
    return kernelCall(gateUpSilu, {
      constants: {
        N: n,
        K: k,
        WEIGHT_DTYPE: dtype,
        TILE_R: half.rows,
        TILE_N: half.outputs,
        LANES: half.lanes,
        SLICES: half.slices,
      },
      buffers,
      workgroups: (dims) => tileGrid(half, dims.numTokens, n),
    });
  });
}

import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";

/** A product `c[M, N] = a[M, K] b[K, N]`, f32, every extent a multiple of the tiles. */
export type GemmShape = Readonly<{ M: number; N: number; K: number }>;

/**
 * One way to tile it. A lane computes TM rows of TN vec4 columns; a workgroup has LX lanes along the
 * columns and LY along the rows. With KS above 0 the workgroup shares KS deep slices of both inputs.
 */
export type GemmTile = Readonly<{ TM: number; TN: number; LX: number; LY: number; KS: number }>;

/**
 * What does well somewhere: sharing for GPUs, plain register tiles where barriers are dear. Square
 * matrices and no row to spare, so that nothing here is slowed by what a model asks of a kernel.
 */
export const GEMM_CANDIDATES: readonly GemmTile[] = [
  { TM: 4, TN: 1, LX: 8, LY: 2, KS: 0 },
  { TM: 8, TN: 1, LX: 8, LY: 1, KS: 0 },
  { TM: 8, TN: 1, LX: 16, LY: 8, KS: 16 },
  { TM: 8, TN: 2, LX: 16, LY: 16, KS: 8 },
];

/** The product by register tiles; rows of `a` and columns of `b` by way of workgroup memory or not. */
export const gemm: Kernel<GemmShape & GemmTile> = {
  name: "gemm",
  source: `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
const ROWS = \${TM * LY}u;
const COLUMNS = \${TN * LX}u;
const LANES = \${LX * LY}u;
//# if KS > 0
var<workgroup> rows: array<f32, \${TM * LY * KS}>;
var<workgroup> columns: array<vec4<f32>, \${TN * LX * KS}>;
//# end
@compute @workgroup_size(\${LX}, \${LY})
fn gemm(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row0 = group.y * ROWS;
  let column0 = group.x * COLUMNS;
//# for m in 0..TM
//# for n in 0..TN
  var s\${m}_\${n} = vec4(0.0);
//# end
//# end
//# if KS > 0
  for (var k0 = 0u; k0 < \${K}u; k0 += \${KS}u) {
    for (var i = lane; i < ROWS * \${KS}u; i += LANES) {
      rows[i % \${KS}u * ROWS + i / \${KS}u] = a[(row0 + i / \${KS}u) * \${K}u + k0 + i % \${KS}u];
    }
    for (var i = lane; i < COLUMNS * \${KS}u; i += LANES) {
      columns[i] = b[(k0 + i / COLUMNS) * \${N / 4}u + column0 + i % COLUMNS];
    }
    workgroupBarrier();  // the slices are whole
    for (var k = 0u; k < \${KS}u; k++) {
//# for n in 0..TN
      let w\${n} = columns[k * COLUMNS + id.x + \${n * LX}u];
//# end
//# for m in 0..TM
      let x\${m} = rows[k * ROWS + id.y * \${TM}u + \${m}u];
//# for n in 0..TN
      s\${m}_\${n} = fma(vec4(x\${m}), w\${n}, s\${m}_\${n});
//# end
//# end
    }
    workgroupBarrier();  // read before the next slices come
  }
//# else
  for (var k = 0u; k < \${K}u; k++) {
//# for n in 0..TN
    let w\${n} = b[k * \${N / 4}u + column0 + id.x + \${n * LX}u];
//# end
//# for m in 0..TM
    let x\${m} = a[(row0 + id.y * \${TM}u + \${m}u) * \${K}u + k];
//# for n in 0..TN
    s\${m}_\${n} = fma(vec4(x\${m}), w\${n}, s\${m}_\${n});
//# end
//# end
  }
//# end
//# for m in 0..TM
//# for n in 0..TN
  c[(row0 + id.y * \${TM}u + \${m}u) * \${N / 4}u + column0 + id.x + \${n * LX}u] = s\${m}_\${n};
//# end
//# end
}`,
  bindings: [
    { name: "a", access: "read" },
    { name: "b", access: "read" },
    { name: "c", access: "read_write" },
  ],
  reference({ a, b, c }, { M, N, K }) {
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += a!.f32[m * K + k]! * b!.f32[k * N + n]!;
        c!.f32[m * N + n] = sum;
      }
    }
  },
};

/** @throws {RangeError} when the tile does not divide the shape. */
export function gemmCall(
  shape: GemmShape,
  tile: GemmTile,
  buffers: Readonly<Record<string, DeviceBuffer>>,
): KernelCall<undefined> {
  const { M, N, K } = shape;
  const x = N / 4 / (tile.TN * tile.LX);
  const y = M / (tile.TM * tile.LY);
  if (![x, y, K / Math.max(1, tile.KS)].every(Number.isInteger)) {
    throw new RangeError(`Cannot tile [${M}, ${N}] over ${K} by ${JSON.stringify(tile)}`);
  }
  return kernelCall(gemm, {
    constants: { ...shape, ...tile },
    buffers,
    workgroups: () => [x, y, 1] as const,
  });
}

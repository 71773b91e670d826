import type { MatrixUnit } from "../kernels/tuning/matrix_tuning.ts";
import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";

/** How much of it: subgroups per workgroup, turns, and sums of each subgroup that do not wait for each other. */
const SUBGROUPS = 4;
const ROUNDS = 1000;
const CHAINS = 4;

type Shape = Readonly<{ TYPE: string; M: number; N: number; K: number; LANES: number }>;

/** Products of matrices that are there already, added up, and nothing else. */
export const matrixChains: Kernel<Shape> = {
  name: "matrix_chains",
  source: `
alias Left = subgroup_matrix_left<\${TYPE}, \${K}, \${M}>;
alias Right = subgroup_matrix_right<\${TYPE}, \${N}, \${K}>;
alias Sums = subgroup_matrix_result<f32, \${N}, \${M}>;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
var<workgroup> elements: array<\${TYPE}, \${Math.max(M, N) * K}>;
@compute @workgroup_size(\${LANES * ${SUBGROUPS}})
fn matrix_chains(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) id: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
) {
  for (var i = id.x; i < \${Math.max(M, N) * K}u; i += \${LANES * ${SUBGROUPS}}u) {
    elements[i] = \${TYPE}(f32(i % 7u) * 0.125 - 0.375);
  }
  workgroupBarrier();  // the matrices are there
  let left = subgroupMatrixLoad<Left, row_major>(&elements, 0u, \${K}u);
  let right = subgroupMatrixLoad<Right, col_major>(&elements, 0u, \${K}u);
  //# for i in 0..${CHAINS}
  var a\${i}: Sums;
  //# end
  // Narrower subgroups than the widest are more of them; these do as much as counts.
  if (subgroup < ${SUBGROUPS}u) {
    for (var n = 0u; n < ${ROUNDS}u; n++) {
      //# for i in 0..${CHAINS}
      a\${i} = subgroupMatrixMultiplyAccumulate(left, right, a\${i});
      //# end
    }
    //# for i in 0..${CHAINS}
    subgroupMatrixStore<row_major>(
      &out, ((group.x * ${SUBGROUPS}u + subgroup) * ${CHAINS}u + \${i}u) * \${M * N}u, a\${i}, \${N}u);
    //# end
  }
}`,
  bindings: [{ name: "out", access: "read_write" }],
  reference() {
    throw new TypeError("a ceiling is measured on WebGPU only");
  },
};

/** What `numGroups` workgroups of {@link matrixChains} write, bytes, and do, multiplications and additions. */
export function matrixChainsWork({ m, n, k }: MatrixUnit, numGroups: number) {
  const numSums = numGroups * SUBGROUPS * CHAINS;
  return { bytes: 4 * numSums * m * n, flops: 2 * numSums * m * n * k * ROUNDS };
}

/** One dispatch of it. */
export function matrixChainsCall(
  { type, m, n, k, lanes }: MatrixUnit,
  numGroups: number,
  out: DeviceBuffer,
): KernelCall<undefined> {
  return kernelCall(matrixChains, {
    constants: { TYPE: type, M: m, N: n, K: k, LANES: lanes },
    buffers: { out },
    workgroups: () => [numGroups, 1, 1] as const,
  });
}
